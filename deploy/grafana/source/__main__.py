"""Writes the dashboards, for `make dashboards`."""

from deploy.grafana.source.files import write

if __name__ == "__main__":
    write()
