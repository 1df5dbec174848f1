#!/usr/bin/env sh
# Draws the secrets of docker-compose.yml, once: deploy/secrets.sh > .env
set -eu
umask 077
draw() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
echo "CLUSTER_SECRET=$(draw)"
echo "MYSQL_PASSWORD=$(draw)"
