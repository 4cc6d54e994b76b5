{{/* The text of hookferry.toml: yours, or that of the overlay with your brokers' address. */}}
{{- define "hookferry.configuration" -}}
{{- if .Values.configuration -}}
{{- .Values.configuration -}}
{{- else -}}
{{- $text := .Files.Get (printf "files/%s.toml" (.Values.stateless.enabled | ternary "stateless" .Values.sink)) -}}
{{- $text = $text | replace "\"kafka-bootstrap.kafka.svc:9093\"" (.Values.kafka.brokers | default "kafka-bootstrap.kafka.svc:9093" | quote) -}}
{{- $text | replace "\"amqps://hookferry@rabbitmq.rabbitmq.svc:5671/%2f\"" (.Values.rabbitmq.url | default "amqps://hookferry@rabbitmq.rabbitmq.svc:5671/%2f" | quote) -}}
{{- end -}}
{{- end }}

{{/* What the schema of the values cannot say: values that contradict each other or the configuration. */}}
{{- define "hookferry.check" -}}
{{- $values := .Values -}}
{{- if and $values.configuration $values.existingConfigMap -}}
{{- fail "configuration, existingConfigMap: the configuration is given twice; leave one of them empty" -}}
{{- end -}}
{{- if and $values.secrets $values.existingSecret -}}
{{- fail "secrets, existingSecret: the Secret is given twice; leave one of them empty" -}}
{{- end -}}
{{- range $sink, $key := dict "kafka" "brokers" "rabbitmq" "url" -}}
{{- if index $values $sink $key -}}
{{- if or $values.configuration $values.existingConfigMap -}}
{{- fail (printf "%s.%s: this is for the chart's own configuration; write the address into yours" $sink $key) -}}
{{- else if ne $sink $values.sink -}}
{{- fail (printf "%s.%s: the sink is %s" $sink $key $values.sink) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $labels := dict "commonLabels" $values.commonLabels "podLabels" $values.podLabels "monitoring.labels" $values.monitoring.labels "monitoring.dashboard.labels" $values.monitoring.dashboard.labels -}}
{{- range $value, $labels := $labels -}}
{{- range list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/managed-by" "helm.sh/chart" -}}
{{- if hasKey $labels . -}}
{{- fail (printf "%s: the chart sets the label %s itself, because selectors and Helm go by it" $value .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.ingress.host) -}}
{{- fail "ingress.host: an Ingress wants a public name" -}}
{{- end -}}
{{- if gt $values.stateless.autoscaling.minReplicas $values.stateless.autoscaling.maxReplicas -}}
{{- fail "stateless.autoscaling.minReplicas: this is more than maxReplicas" -}}
{{- end -}}
{{- if not $values.existingConfigMap -}}
{{- if and $values.stateless.enabled (eq $values.sink "rabbitmq") (not $values.configuration) -}}
{{- fail "stateless.enabled: the chart's own configuration without a volume is for Kafka; for RabbitMQ, give yours as `configuration`" -}}
{{- end -}}
{{- include "hookferry.checkConfiguration" . -}}
{{- end -}}
{{- end }}

{{- define "hookferry.checkConfiguration" -}}
{{- $values := .Values -}}
{{- $text := include "hookferry.configuration" . -}}
{{- $file := fromToml $text -}}
{{- if hasKey $file "Error" -}}
{{- fail (printf "configuration: this is no TOML: %s" $file.Error) -}}
{{- end -}}
{{- $inMemory := and (kindIs "string" $file.spool) (eq (toString $file.spool) "memory") -}}
{{- if and $inMemory (not $values.stateless.enabled) -}}
{{- fail "stateless.enabled: the configuration's spool is in memory, so set this to true" -}}
{{- end -}}
{{- if and $values.stateless.enabled (not $inMemory) -}}
{{- fail "stateless.enabled: the configuration's spool is on a volume; it wants spool = \"memory\" and acknowledge = \"delivered\"" -}}
{{- end -}}
{{- range $section, $port := dict "ingress" "8080" "metrics" "8082" -}}
{{- $listen := dig $section "listen" "" $file -}}
{{- if not (hasSuffix (printf ":%s" $port) $listen) -}}
{{- fail (printf "configuration: [%s] has to listen at 0.0.0.0:%s, where the pod has its port, and not at %q" $section $port $listen) -}}
{{- end -}}
{{- end -}}
{{- $types := list -}}
{{- range $name, $sink := $file.sink -}}
{{- $types = append $types $sink.type -}}
{{- end -}}
{{- if not (has $values.sink $types) -}}
{{- fail (printf "sink: the configuration has no sink of the type %s, but %s" $values.sink (join ", " $types | default "none")) -}}
{{- end -}}
{{- range $name, $source := $file.source -}}
{{- if hasKey $source "recovery" -}}
{{- if or $values.stateless.enabled (gt (int $values.replicas) 1) -}}
{{- fail (printf "replicas: a recovery ([source.%s.recovery]) is for one pod, because each would publish what the others have received: set replicas to 1, without stateless" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $values.secrets -}}
{{- range regexFindAll "(?m)^[^#\n]*\"/run/secrets/hookferry/[^\"/]+\"" $text -1 -}}
{{- $key := regexReplaceAll "^.*/run/secrets/hookferry/([^\"/]+)\"$" . "${1}" -}}
{{- if not (hasKey $values.secrets $key) -}}
{{- fail (printf "secrets.%s: this is missing; the configuration reads /run/secrets/hookferry/%s" $key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
