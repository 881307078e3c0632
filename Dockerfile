# syntax=docker/dockerfile:1
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY goclaw ./goclaw
RUN python -m venv /opt/goclaw \
 && /opt/goclaw/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="GoClaw" \
      org.opencontainers.image.description="A self-hosted AI agent gateway"
# PostgreSQL refuses to run as root, and so do we
RUN useradd --no-log-init --uid 10001 --create-home --home-dir /app goclaw \
 && install -d -o goclaw -g goclaw -m 0700 /app/data
COPY --from=build /opt/goclaw /opt/goclaw
ENV PATH=/opt/goclaw/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GOCLAW_HOME=/app/data
USER goclaw
WORKDIR /app
VOLUME ["/app/data"]
EXPOSE 18790
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:18790/health', timeout=4)"]
ENTRYPOINT ["goclaw"]
CMD ["--daemon"]
