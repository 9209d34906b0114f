"""Damage to whole files, by a random generator: to bytes, and to the fields of JSON."""

import copy
import json
import struct

SIZES = (0xFF, 0x7FFF, 0xFFFF, 2**24, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
NEAR = 600  # bytes at either end, where headers and indices lie
# What a field may hold where something else belongs.
WRONG = (
    None,
    True,
    -1,
    0,
    1,
    1.5,
    -1e300,
    10**6,
    2**24,
    2**40,
    10**30,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../../x",
    "/etc/hostname",
    "a\x1b[2J\nb",
    "\ud800",
    "n" * 5000,
    [],
    [[[[]]]],
    [0] * 5000,
    ["x", None, {}],
    {},
    {"x": 1, "": [2]},
)


def _place(content, rng, size=1):
    """A place to do something to: as often at the ends as anywhere."""
    last = max(1, len(content) - size)
    near = min(NEAR, last)
    side = rng.integers(4)
    if side == 0:
        return int(rng.integers(near))
    return int(last - 1 - rng.integers(near)) if side == 1 else int(rng.integers(last))


def flip(content, rng):
    """Some bits."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        changed[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncate(content, rng):
    """The beginning alone."""
    return content[: _place(content, rng)]


def splice(content, rng):
    """A block of it stands at another place, too."""
    size = int(rng.integers(1, max(2, len(content) // 4)))
    start, place = _place(content, rng, size), _place(content, rng)
    block = content[start : start + size] * int(rng.choice([1, 1, 3, 50]))
    return content[:place] + block + content[place + size * int(rng.integers(2)) :]


def grow(content, rng):
    """A number in it, wherever one may be, becomes large."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        form = str(rng.choice(["<B", "<H", ">H", "<I", ">I", "<Q", ">Q"]))
        width = struct.calcsize(form)
        value = SIZES[rng.integers(len(SIZES))] % 2 ** (8 * width)
        place = _place(content, rng, width)
        changed[place : place + width] = struct.pack(form, value)
    return bytes(changed)


def cut(content, rng):
    """A block is missing."""
    size, place = int(rng.integers(1, max(2, len(content) // 3))), _place(content, rng)
    return content[:place] + content[place + size :]


def blank(content, rng):
    """A block is one byte again and again, as on disks that failed."""
    size, place = int(rng.integers(1, max(2, len(content) // 3))), _place(content, rng)
    filled = content[place : place + size]
    return (
        content[:place]
        + bytes([int(rng.choice([0, 255, 48]))]) * len(filled)
        + content[place + size :]
    )


def digits(content, rng):
    """Some digits become others, and more: numbers in texts."""
    places = [place for place, byte in enumerate(content) if 48 <= byte <= 57]
    if not places:
        return flip(content, rng)
    place = places[rng.integers(len(places))]
    more = str(rng.choice(["9", "-1", "99999999", "1e400", "0.5", "9" * 5000])).encode()
    return content[:place] + more + content[place + 1 :]


BYTES = {f.__name__: f for f in (flip, truncate, splice, grow, cut, blank, digits)}


def of_bytes(content, rng):
    """One kind of damage, or two."""
    names = list(BYTES)
    for _ in range(int(rng.choice([1, 1, 2]))):
        if content:
            content = BYTES[names[rng.integers(len(names))]](content, rng)
    return content


def fields_in(fields, before=()):
    """The path of every field and section, and of the first item of lists."""
    found = []
    items = fields.items() if isinstance(fields, dict) else enumerate(fields[:1])
    for name, value in items:
        found.append((*before, name))
        if isinstance(value, dict | list):
            found += fields_in(value, (*before, name))
    return found


def removed(fields, path):
    """Without a field, whose path is given."""
    changed = copy.deepcopy(fields)
    *parents, last = path
    del _walk(changed, parents)[last]
    return changed


def replaced(fields, path, value):
    """With another value of a field."""
    changed = copy.deepcopy(fields)
    *parents, last = path
    _walk(changed, parents)[last] = value
    return changed


def _walk(fields, path):
    for name in path:
        fields = fields[name]
    return fields


def of_fields(fields, rng):
    """One field or two removed or wrong, or one too many."""
    for _ in range(int(rng.choice([1, 1, 2]))):
        known = fields_in(fields)
        if not known:
            return fields
        path = known[rng.integers(len(known))]
        how = rng.integers(6)
        if how == 0:
            fields = removed(fields, path)
        elif how == 1:
            fields = replaced(fields, (*path[:-1], "more\x1b[2J"), 1) if path[-1] != 0 else fields
        else:
            fields = replaced(fields, path, WRONG[rng.integers(len(WRONG))])
    return fields


def of_json(path, rng):
    """Damage to the fields of a JSON file, or to its text."""
    if rng.integers(5) == 0:
        path.write_bytes(of_bytes(path.read_bytes(), rng))
    else:
        path.write_text(json.dumps(of_fields(json.loads(path.read_text()), rng)))
