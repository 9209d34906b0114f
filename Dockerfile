# An image that runs `resgen` on TPU or GPU hosts, e.g. with launch/gke.sh.
#   docker build --tag=REGISTRY/resgen .                          for TPUs
#   docker build --tag=REGISTRY/resgen --build-arg=EXTRA=cuda .   for GPUs; the wheels bring CUDA
FROM python:3.12-slim
ARG EXTRA=tpu

# As process 1, Python would ignore a SIGTERM that comes before the training loop listens.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/*

# The packages first: their layer is made again only when setup.cfg changes.
WORKDIR /opt/resgen_jax
COPY setup.cfg ./
RUN python -c "import configparser; file = configparser.ConfigParser(); file.read('setup.cfg'); \
print(file['options']['install_requires'], file['options.extras_require']['${EXTRA}'])" \
    > requirements.txt \
    && pip install --no-cache-dir --requirement=requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY resgen_jax resgen_jax
RUN pip install --no-cache-dir --no-deps .

ENTRYPOINT ["tini", "--", "resgen"]
CMD ["--help"]
