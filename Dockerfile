# whence in a container: docker build -t whence . && docker run -p 4317:4317 -p 4318:4318 -p 4319:4319 -v whence:/var/lib/whence whence
# About 1.3 GB, most of it torch (CPU build), which only the training process loads.
FROM python:3.11-slim AS build

# The compiled decoder needs a C compiler; the image that runs does not.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
WORKDIR /src
COPY constraints.txt pyproject.toml setup.py MANIFEST.in README.md LICENSE NOTICE ./
COPY engine engine
COPY exporter exporter
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim

WORKDIR /src
COPY constraints.txt ./
COPY --from=build /wheels /wheels
# PyPI's Linux wheels of torch bring 4 GB of GPU libraries; this index has those without.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -c constraints.txt /wheels/*.whl \
    && useradd --system --uid 10001 --home-dir /var/lib/whence --create-home whence

USER 10001
WORKDIR /var/lib/whence
VOLUME /var/lib/whence
# Outside a container whence binds loopback only; here the container's network is the border.
ENV WHENCE_RECEIVER__GRPC__ENDPOINT=0.0.0.0:4317 \
    WHENCE_RECEIVER__HTTP__ENDPOINT=0.0.0.0:4318 \
    WHENCE_WEB__ENDPOINT=0.0.0.0:4319 \
    WHENCE_STORE__PATH=/var/lib/whence \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONUNBUFFERED=1
EXPOSE 4317 4318 4319
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:4319/healthz', timeout=2)"]
ENTRYPOINT ["whence"]
CMD ["serve"]
