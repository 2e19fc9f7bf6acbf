# callmeter, worker and api in one image: `docker run … worker`, `docker run … api --host 0.0.0.0`.
FROM python:3.12-slim

WORKDIR /app
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock

COPY pyproject.toml README.md ./
COPY ingest ingest
COPY aggregator aggregator
COPY api api
COPY callmeter callmeter
RUN pip install --no-deps --no-build-isolation . && useradd --create-home callmeter

USER callmeter
WORKDIR /home/callmeter
ENTRYPOINT ["callmeter"]
