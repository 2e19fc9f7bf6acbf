# callmeter, worker and api in one image: `docker run … worker`, `docker run … api --host 0.0.0.0`.
FROM python:3.13.9-slim-bookworm

WORKDIR /app
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

COPY requirements-production.lock ./
RUN pip install --require-hashes -r requirements-production.lock

COPY pyproject.toml README.md LICENSE ./
COPY ingest ingest
COPY aggregator aggregator
COPY api api
COPY callmeter callmeter
RUN pip install --no-deps --no-build-isolation . && useradd --create-home callmeter

USER callmeter
WORKDIR /home/callmeter
ENTRYPOINT ["callmeter"]
