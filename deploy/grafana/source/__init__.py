"""The dashboards as they are written; `make dashboards` turns them into what Grafana reads."""
