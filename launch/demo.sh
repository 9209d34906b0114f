#!/usr/bin/env bash
# Trains both stages on real images, samples, and writes runs/demo/report.html.
#   bash launch/demo.sh                    handwritten digits, nothing to download
#   bash launch/demo.sh --images DIR       your own images, one subfolder per class
here="$PWD"
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
set -euo pipefail
source launch/environment.sh
install_package ""
resgen="$(cd "$venv/bin" && pwd)/resgen"
# Paths among the arguments mean what they mean where the user stands.
cd "$here"
exec "$resgen" demo "$@"
