{{/*
What the release's objects are called. The longest name made of it is that of a pod's revision, which has
to fit into a label of 63 characters.
*/}}
{{- define "hookferry.name" -}}
{{- $name := .Values.fullnameOverride | default (contains "hookferry" .Release.Name | ternary .Release.Name (printf "%s-hookferry" .Release.Name)) -}}
{{- $name | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{/* What selectors go by. It never changes: a StatefulSet's selector cannot. */}}
{{- define "hookferry.selector" -}}
app.kubernetes.io/name: hookferry
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/*
The head of an object, of a list: the root, a suffix of the name, labels and annotations beside those of
all objects. Of two labels with one key, the chart's own counts.
*/}}
{{- define "hookferry.metadata" -}}
{{- $root := index . 0 -}}
{{- $own := dict "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") "app.kubernetes.io/managed-by" $root.Release.Service -}}
name: {{ include "hookferry.name" $root }}{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- merge (include "hookferry.selector" $root | fromYaml) $own (index . 2) $root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (dict) (index . 3) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "hookferry.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "hookferry.name" .) "default") -}}
{{- end }}

{{- define "hookferry.secret" -}}
{{- .Values.existingSecret | default (include "hookferry.name" .) -}}
{{- end }}

{{- define "hookferry.image" -}}
{{- $image := .Values.image -}}
{{- $image.repository -}}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}
