{{- define "landcast.labels" -}}
{{ include "landcast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "landcast.selector" -}}
app.kubernetes.io/name: landcast
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "landcast.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "landcast.claim" -}}
{{ .Values.state.existingClaim | default (printf "%s-state" .Release.Name) }}
{{- end }}

{{- define "landcast.path" -}}
{{- $path := (urlParse .Values.url).path | trimSuffix "/" -}}
{{- $path | default "/" -}}
{{- end }}

{{- define "landcast.environment" -}}
- name: LANDCAST_SERVER_URL
  value: {{ .Values.url | quote }}
- name: LANDCAST_METRICS_BIND
  value: 0.0.0.0:9464
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "landcast.pod" -}}
serviceAccountName: {{ .Release.Name }}
automountServiceAccountToken: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "landcast.container" -}}
image: {{ include "landcast.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env: {{- include "landcast.environment" . | nindent 2 }}
envFrom:
  - secretRef: {name: {{ .Values.existingSecret }}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: state, mountPath: /var/lib/landcast}
  - {name: configuration, mountPath: /etc/landcast, readOnly: true}
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "landcast.volumes" -}}
- name: configuration
  configMap: {name: {{ .Values.existingConfigMap }}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 1Gi}
{{- end }}
