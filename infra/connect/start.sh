#!/bin/sh
# Start Kafka Connect once the schema registry answers, also after a kill: compose's depends_on holds
# for `up` alone, and a sink that reads while the registry is away takes good records for bad ones.
until wget -q -O /dev/null http://registry:9000/health/ready; do
  echo "Kafka Connect waits for the schema registry"
  sleep 2
done
# The password of the REST API comes from the environment, and Kafka reads it from a file.
printf 'pipeline=%s\n' "$KAFKA_CONNECT_PASSWORD" > rest-users.properties
exec /opt/kafka/bin/connect-distributed.sh /opt/connect/connect.properties
