# An image that needs no network when it runs: docs/deployment.md says how to build, carry and run it.
FROM python:3.11-slim-bookworm

# torch without CUDA: a tenth of the size. Another index, such as a mirror of the hospital, can be named.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DALA_CACHE=/tmp/dala \
    DALA_CASES_FOLDER=/cases \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_SERVER_PORT=8501

WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" -r requirements.txt

COPY app.py README.md LICENSE ./
COPY .streamlit/config.toml .streamlit/config.toml
COPY dala dala
COPY pages pages
COPY viewer viewer
COPY weights weights
COPY evidence evidence
COPY docs docs

# Every part is looked at once before the image is finished, the fingerprints of the weights too.
RUN useradd --system --uid 10001 --no-create-home dala && install -d -o dala -m 700 /cases && python -m dala doctor
USER 10001

EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://localhost:8501/_stcore/health', timeout=4)"]
CMD ["python", "-m", "streamlit", "run", "app.py"]
