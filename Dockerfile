# MOON Search. torch comes in its default build, which runs on NVIDIA GPUs and on a CPU. For the smaller CPU build:
# docker build --build-arg TORCH_INDEX=<address of torch's index of CPU builds> .
FROM python:3.12-slim

ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

WORKDIR /srv/moon

# The libraries change less often than the code: they get a layer of their own.
COPY pyproject.toml constraints.txt README.md ./
RUN for package in app indexer trainer ui; do mkdir $package && touch $package/__init__.py; done \
    && pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --constraint constraints.txt --editable '.[cpu]'

COPY app app
COPY indexer indexer
COPY trainer trainer
COPY ui ui
COPY demo demo
COPY models models
COPY LICENSE ./

RUN useradd --uid 1000 --create-home moon && install --directory --owner moon --group moon /data
USER moon
ENV MOON_DATA=/data MOON_HOST=0.0.0.0
VOLUME /data
EXPOSE 7860

HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=4 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/api/v1/health/ready', timeout=4)"]

CMD ["app", "serve"]
