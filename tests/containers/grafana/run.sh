#!/usr/bin/env bash
# The variables that the compose file sets: the first must not be empty, the others are Grafana's own.
set -euo pipefail
: "${GF_SECURITY_ADMIN_PASSWORD:?}"
touch /var/lib/grafana/grafana.db
cat /etc/grafana/provisioning/datasources/*.yml /etc/grafana/provisioning/dashboards/*.yml \
    /var/lib/grafana/dashboards/*.json >/dev/null
exec busybox httpd -f -p 3000 -h /srv
