{{- /* The pod of storage, as its StatefulSet or Deployment has it; nindent 4. Takes the context. */ -}}
{{- define "infertap.storage.pod" -}}
{{- $storage := .Values.storage }}
{{- $component := dict "context" . "component" "storage" }}
{{- $scheme := ternary "HTTPS" "HTTP" (not (empty $storage.tls.secretName)) }}
metadata:
  labels: {{- include "infertap.labels" $component | nindent 4 }}
  {{- with $storage.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 60
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- if and $storage.clickhouse.url $storage.clickhouse.migrate }}
  initContainers:
    # Makes tables that are not there; harmless when several do so at once.
    - name: migrate
      image: {{ include "infertap.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [storage, migrate]
      env: {{- include "infertap.storage.archive" $storage | nindent 8 }}
      securityContext: {{- include "infertap.containerSecurity" . | nindent 8 }}
      resources: {{- toYaml $storage.resources | nindent 8 }}
      {{- if $storage.clickhouse.passwordSecret.name }}
      volumeMounts:
        - {name: clickhouse, mountPath: /etc/infertap/clickhouse, readOnly: true}
      {{- end }}
  {{- end }}
  containers:
    - name: storage
      image: {{ include "infertap.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [storage]
      ports:
        - {name: grpc, containerPort: {{ $storage.grpcPort }}}
        - {name: web, containerPort: {{ $storage.webPort }}}
      env:
        - name: INFERTAP_STORAGE_LISTEN
          value: "0.0.0.0:{{ $storage.grpcPort }}"
        - name: INFERTAP_WEB_LISTEN
          value: "0.0.0.0:{{ $storage.webPort }}"
        {{- include "infertap.storage.archive" $storage | nindent 8 }}
        {{- include "infertap.storage.access" $storage | nindent 8 }}
        {{- /* Feedback is redacted as payloads are. */}}
        {{- with include "infertap.environment" (pick .Values.sidecar.settings "redact" "redactActions" "redactFields") }}
        {{- . | trim | nindent 8 }}
        {{- end }}
        {{- with include "infertap.environment" $storage.settings }}
        {{- . | trim | nindent 8 }}
        {{- end }}
      startupProbe:
        httpGet: {path: /readyz, port: web, scheme: {{ $scheme }}}
        periodSeconds: 2
        failureThreshold: 150
      readinessProbe:
        httpGet: {path: /readyz, port: web, scheme: {{ $scheme }}}
        periodSeconds: 5
      livenessProbe:
        httpGet: {path: /healthz, port: web, scheme: {{ $scheme }}}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      securityContext: {{- include "infertap.containerSecurity" . | nindent 8 }}
      resources: {{- toYaml $storage.resources | nindent 8 }}
      volumeMounts:
        {{- if not $storage.clickhouse.url }}
        - {name: archive, mountPath: /var/lib/infertap}
        {{- end }}
        - {name: tmp, mountPath: /tmp}
        {{- if $storage.clickhouse.passwordSecret.name }}
        - {name: clickhouse, mountPath: /etc/infertap/clickhouse, readOnly: true}
        {{- end }}
        {{- if $storage.tls.secretName }}
        - {name: tls, mountPath: /etc/infertap/tls, readOnly: true}
        {{- end }}
        {{- if $storage.identities.secretName }}
        - {name: identities, mountPath: /etc/infertap/identities, readOnly: true}
        {{- end }}
        {{- if $storage.hashKeySecret.name }}
        - {name: hash-key, mountPath: /etc/infertap/hash-key, readOnly: true}
        {{- end }}
        {{- if $storage.auditKeySecret.name }}
        - {name: audit-key, mountPath: /etc/infertap/audit-key, readOnly: true}
        {{- if $storage.checkpointClaim }}
        - {name: checkpoints, mountPath: /var/lib/infertap-checkpoints}
        {{- end }}
        {{- end }}
        {{- if $storage.sinks.secretName }}
        - {name: sinks, mountPath: /etc/infertap/sinks, readOnly: true}
        {{- end }}
        {{- range $storage.mounts }}
        - {name: infertap-{{ .name }}, mountPath: {{ .mountPath }}, readOnly: true}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 1Gi}
    {{- /* The group of the pod may read them, nobody else. */}}
    {{- with $storage.tls.secretName }}
    - name: tls
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with $storage.identities.secretName }}
    - name: identities
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with $storage.clickhouse.passwordSecret.name }}
    - name: clickhouse
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with $storage.hashKeySecret.name }}
    - name: hash-key
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with $storage.auditKeySecret.name }}
    - name: audit-key
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- with $storage.checkpointClaim }}
    - name: checkpoints
      persistentVolumeClaim: {claimName: {{ . }}}
    {{- end }}
    {{- end }}
    {{- with $storage.sinks.secretName }}
    - name: sinks
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- range $storage.mounts }}
    - name: infertap-{{ .name }}
      {{- omit . "name" "mountPath" | toYaml | nindent 6 }}
    {{- end }}
  {{- with $storage.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $storage.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $storage.clickhouse.url }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "infertap.selector" $component | nindent 10 }}
  {{- end }}
  {{- with $storage.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- /* Where the archive is: environment. Takes .Values.storage. */ -}}
{{- define "infertap.storage.archive" -}}
- name: INFERTAP_ARCHIVE
  value: {{ default "/var/lib/infertap/archive" .clickhouse.url | quote }}
{{- if .clickhouse.passwordSecret.name }}
- name: INFERTAP_ARCHIVE_PASSWORD_FILE
  value: /etc/infertap/clickhouse/{{ .clickhouse.passwordSecret.key }}
{{- end }}
{{- with include "infertap.storage.diskLimit" . }}
- name: INFERTAP_ARCHIVE_DISK_BYTES
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{- /* The port in clickhouse://user@host:port/database, else ClickHouse's own for HTTP or HTTPS. Takes the text. */ -}}
{{- define "infertap.storage.clickhousePort" -}}
{{- $host := (urlParse .).host }}
{{- if regexMatch ":[0-9]+$" $host }}{{ regexFind "[0-9]+$" $host }}
{{- else if regexMatch "[?&]secure=(on|true|1)" . }}8443
{{- else }}8123
{{- end }}
{{- end }}
