{{/* The pods, with and without a volume. */}}
{{- define "hookferry.pod" -}}
{{- $selector := include "hookferry.selector" . | fromYaml -}}
{{- $configuration := dict -}}
{{- if not .Values.existingConfigMap -}}
{{- /* Another configuration is another set of pods, one after the other. */ -}}
{{- $configuration = dict "checksum/configuration" (include "hookferry.configuration" . | sha256sum) -}}
{{- end -}}
metadata:
  labels:
    {{- merge (dict) $selector .Values.podLabels .Values.commonLabels | toYaml | nindent 4 }}
  {{- with merge (dict) $configuration .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "hookferry.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- with .Values.podSecurityContext }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- if not .Values.stateless.enabled }}
    fsGroupChangePolicy: OnRootMismatch
    {{- end }}
  {{- with .Values.topologySpread }}
  topologySpreadConstraints:
    {{- range . }}
    {{- list (merge (dict) . (dict "labelSelector" (dict "matchLabels" $selector))) | toYaml | nindent 4 }}
    {{- end }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: hookferry
      image: {{ include "hookferry.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: ["serve", "--config", "/etc/hookferry/hookferry.toml"]
      {{- with .Values.extraEnv }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - { name: webhooks, containerPort: 8080, protocol: TCP }
        - { name: metrics, containerPort: 8082, protocol: TCP }
      # Why these: deploy/kubernetes/base/statefulset.yaml and overlays/stateless/deployment.yaml.
      startupProbe:
        httpGet: { path: /livez, port: metrics }
        {{- if .Values.stateless.enabled }}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 30
        {{- else }}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 180
        {{- end }}
      livenessProbe:
        httpGet: { path: /livez, port: metrics }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /readyz, port: metrics }
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      lifecycle:
        preStop:
          sleep: { seconds: 5 }
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        - { name: configuration, mountPath: /etc/hookferry, readOnly: true }
        - { name: secrets, mountPath: /run/secrets/hookferry, readOnly: true }
        {{- if not .Values.stateless.enabled }}
        - { name: spool, mountPath: /var/lib/hookferry }
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: configuration
      configMap: { name: {{ .Values.existingConfigMap | default (include "hookferry.name" .) | quote }} }
    - name: secrets
      secret: { secretName: {{ include "hookferry.secret" . | quote }}, defaultMode: 0440 }
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
