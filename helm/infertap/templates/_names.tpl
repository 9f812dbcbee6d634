{{- /* Names, labels and the parts every pod of this chart has in common. */ -}}

{{- define "infertap.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "infertap.storage.name" -}}
{{ include "infertap.name" . }}-storage
{{- end }}

{{- /* Labels that select; they never change. Takes (dict "context" $ "component" "storage"). */ -}}
{{- define "infertap.selector" -}}
app.kubernetes.io/name: infertap
app.kubernetes.io/instance: {{ .context.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "infertap.labels" -}}
{{ include "infertap.selector" . }}
app.kubernetes.io/version: {{ .context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
helm.sh/chart: {{ .context.Chart.Name }}-{{ .context.Chart.Version }}
{{- end }}

{{- define "infertap.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* The restricted profile of the pod security standards. */ -}}
{{- define "infertap.containerSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* Files of storage that answer who is who: environment. */ -}}
{{- define "infertap.storage.access" -}}
{{- if .tls.secretName }}
- name: INFERTAP_SERVER_TLS_CERT_FILE
  value: /etc/infertap/tls/tls.crt
- name: INFERTAP_SERVER_TLS_KEY_FILE
  value: /etc/infertap/tls/tls.key
{{- if .tls.clientCertificates }}
- name: INFERTAP_SERVER_CLIENT_CA_FILE
  value: /etc/infertap/tls/ca.crt
{{- end }}
{{- end }}
{{- if .identities.secretName }}
- name: INFERTAP_IDENTITIES_FILE
  value: /etc/infertap/identities/{{ .identities.key }}
{{- end }}
{{- if not (and .tls.secretName .identities.secretName) }}
- name: INFERTAP_INSECURE
  value: "on"
{{- end }}
{{- if .hashKeySecret.name }}
- name: INFERTAP_HASH_KEY_FILE
  value: /etc/infertap/hash-key/{{ .hashKeySecret.key }}
{{- end }}
{{- if .auditKeySecret.name }}
- name: INFERTAP_AUDIT_KEY_FILE
  value: /etc/infertap/audit-key/{{ .auditKeySecret.key }}
{{- if .checkpointClaim }}
- name: INFERTAP_CHECKPOINT_DIR
  value: /var/lib/infertap-checkpoints
{{- end }}
{{- end }}
{{- if .sinks.secretName }}
- name: INFERTAP_SINKS_FILE
  value: /etc/infertap/sinks/{{ .sinks.key }}
{{- end }}
{{- with .redactRulesFile }}
- name: INFERTAP_REDACT_RULES_FILE
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{- /* What the archive may take of its volume: 90 %, unless the settings say it, or the size is another kind of number.
       Takes .Values.storage. */ -}}
{{- define "infertap.storage.diskLimit" -}}
{{- $size := toString .volume.size }}
{{- if and (regexMatch "^[0-9]+(Mi|Gi|Ti)$" $size) (not (hasKey .settings "archiveDiskBytes")) (not .clickhouse.url) }}
{{- $unit := get (dict "Mi" 1 "Gi" 1024 "Ti" 1048576) (regexFind "[MGT]i$" $size) }}
{{- $mib := mul (regexFind "^[0-9]+" $size | int64) $unit }}
{{- if ge $mib 320 }}{{ div (mul $mib 9) 10 }}MiB{{ end }}
{{- end }}
{{- end }}

{{- /* Settings to environment: camelCase names, whole numbers kept whole, lists joined. Takes the map. */ -}}
{{- define "infertap.environment" -}}
{{- range $name, $value := . -}}
- name: INFERTAP_{{ $name | snakecase | upper }}
  value: {{ include "infertap.text" $value | quote }}
{{ end }}
{{- end }}

{{- /* A value as a setting reads it: 1000000 must not become 1e+06. */ -}}
{{- define "infertap.text" -}}
{{- if kindIs "slice" . }}{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}
{{- else }}{{ . }}
{{- end }}
{{- end }}
