"""From the SLA to the pager: what Prometheus, OpenSLO and Grafana are told, from declarations."""
