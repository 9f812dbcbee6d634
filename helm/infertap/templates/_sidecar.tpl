{{- /*
The sidecar, for any pod. In a chart that depends on this one:

    metadata:
      labels: {{- include "infertap.sidecar.labels" . | nindent 8 }}
    spec:
      enableServiceLinks: false
      initContainers: {{- include "infertap.sidecar" (dict "context" .Subcharts.infertap) | nindent 8 }}
      volumes: {{- include "infertap.sidecar.volumes" (dict "context" .Subcharts.infertap) | nindent 8 }}

With `sidecar.native: false` the first goes under `containers`, and with `sidecar.redirect` too
`infertap.sidecar.redirect` under `initContainers`, in the same way. "settings" in the dict adds to, or overrides,
`sidecar.settings` for this pod. The model needs no change: the Service's targetPort names the sidecar's port, or,
with `sidecar.redirect`, the model's as ever.
*/ -}}

{{- define "infertap.sidecar.labels" -}}
infertap.dev/sidecar: "true"
{{- end }}

{{- define "infertap.sidecar" -}}
{{- $sidecar := .context.Values.sidecar }}
{{- $settings := merge (dict) (.settings | default dict) ($sidecar.settings | default dict) -}}
{{- if $sidecar.native }}{{ include "infertap.sidecar.redirect" . }}{{ end -}}
- name: infertap
  image: {{ include "infertap.image" .context }}
  imagePullPolicy: {{ .context.Values.image.pullPolicy }}
  args: [sidecar]
  {{- if $sidecar.native }}
  restartPolicy: Always
  {{- end }}
  ports:
    {{- range $sidecar.ports }}
    - {name: {{ .name }}, containerPort: {{ .listen }}}
    {{- end }}
    - {name: infertap-admin, containerPort: {{ $sidecar.adminPort }}}
  env:
    - name: INFERTAP_ROUTES
      value: {{ include "infertap.sidecar.routes" $sidecar | quote }}
    - name: INFERTAP_ADMIN_LISTEN
      value: "0.0.0.0:{{ $sidecar.adminPort }}"
    - name: INFERTAP_SPOOL_DIR
      value: /var/lib/infertap/spool
    - name: INFERTAP_SPOOL_BYTES
      value: {{ printf "%dMiB" (div (mul $sidecar.spoolMi 8) 10) | quote }}
    {{- with include "infertap.sidecar.storage" .context }}
    - name: INFERTAP_STORAGE
      value: {{ . | quote }}
    {{- end }}
    {{- with include "infertap.sidecar.access" $sidecar.storageAccess }}
    {{- . | trim | nindent 4 }}
    {{- end }}
    {{- if $sidecar.hashKeySecret.name }}
    - name: INFERTAP_HASH_KEY_FILE
      value: /etc/infertap/hash-key/{{ $sidecar.hashKeySecret.key }}
    {{- end }}
    - name: INFERTAP_SOURCE_POD
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
    - name: INFERTAP_SOURCE_NAMESPACE
      valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
    - name: INFERTAP_SOURCE_NODE
      valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
    - name: INFERTAP_SOURCE_VERSION
      valueFrom: {fieldRef: {fieldPath: "metadata.labels['app.kubernetes.io/version']"}}
    - name: INFERTAP_SOURCE_CONTAINER
      value: {{ $sidecar.modelContainer | quote }}
    {{- with include "infertap.environment" $settings }}
    {{- . | trim | nindent 4 }}
    {{- end }}
  # Ready means that the relays accept. Neither recorder, storage nor model can make these fail.
  startupProbe:
    httpGet: {path: /readyz, port: infertap-admin}
    periodSeconds: 1
    failureThreshold: 60
  readinessProbe:
    httpGet: {path: /readyz, port: infertap-admin}
    periodSeconds: 5
  livenessProbe:
    httpGet: {path: /healthz, port: infertap-admin}
    periodSeconds: 10
  securityContext: {{- include "infertap.containerSecurity" . | nindent 4 }}
  # No limit on ephemeral storage: it would become the limit of the whole pod, the model's logs included.
  resources: {{- include "infertap.sidecar.resources" $sidecar | nindent 4 }}
  volumeMounts:
    - {name: infertap-spool, mountPath: /var/lib/infertap}
    {{- if $sidecar.hashKeySecret.name }}
    - {name: infertap-hash-key, mountPath: /etc/infertap/hash-key, readOnly: true}
    {{- end }}
    {{- if $sidecar.storageAccess.tlsSecret }}
    - {name: infertap-storage-tls, mountPath: /etc/infertap/storage-tls, readOnly: true}
    {{- end }}
    {{- if $sidecar.storageAccess.tokenSecret.name }}
    - {name: infertap-storage-token, mountPath: /etc/infertap/storage-token, readOnly: true}
    {{- end }}
    {{- range $sidecar.mounts }}
    - {name: infertap-{{ .name }}, mountPath: {{ .mountPath }}, readOnly: true}
    {{- end }}
{{- end }}

{{- define "infertap.sidecar.access" -}}
{{- if .tlsSecret }}
- name: INFERTAP_STORAGE_TLS_CA_FILE
  value: /etc/infertap/storage-tls/ca.crt
{{- if .clientCertificate }}
- name: INFERTAP_STORAGE_TLS_CERT_FILE
  value: /etc/infertap/storage-tls/tls.crt
- name: INFERTAP_STORAGE_TLS_KEY_FILE
  value: /etc/infertap/storage-tls/tls.key
{{- end }}
{{- with .serverName }}
- name: INFERTAP_STORAGE_TLS_SERVER_NAME
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- if .tokenSecret.name }}
- name: INFERTAP_STORAGE_TOKEN_FILE
  value: /etc/infertap/storage-token/{{ .tokenSecret.key }}
{{- if not .tlsSecret }}
- name: INFERTAP_INSECURE
  value: "on"
{{- end }}
{{- end }}
{{- end }}

{{- define "infertap.sidecar.volumes" -}}
{{- $sidecar := .context.Values.sidecar -}}
- name: infertap-spool
  emptyDir: {sizeLimit: {{ $sidecar.spoolMi }}Mi}
{{- if $sidecar.hashKeySecret.name }}
- name: infertap-hash-key
  secret: {secretName: {{ $sidecar.hashKeySecret.name }}, defaultMode: 0444}
{{- end }}
{{- with $sidecar.storageAccess.tlsSecret }}
- name: infertap-storage-tls
  secret: {secretName: {{ . }}, defaultMode: 0444}
{{- end }}
{{- if $sidecar.storageAccess.tokenSecret.name }}
- name: infertap-storage-token
  secret: {secretName: {{ $sidecar.storageAccess.tokenSecret.name }}, defaultMode: 0444}
{{- end }}
{{- range $sidecar.mounts }}
- name: infertap-{{ .name }}
  {{- omit . "name" "mountPath" | toYaml | nindent 2 }}
{{- end }}
{{- end }}

{{- define "infertap.sidecar.routes" -}}
{{- $routes := list }}
{{- range .ports }}
{{- $upstream := ternary "original" (printf "127.0.0.1:%d" (int64 .upstream)) $.redirect }}
{{- $listen := ternary (printf "[::]:%d" (int64 .listen)) (printf "%d" (int64 .listen)) $.redirect }}
{{- $routes = append $routes (printf "%s=%s" $listen $upstream) }}
{{- end }}
{{- join "," $routes }}
{{- end }}

{{- /*
The rules of redirect mode. Only what comes from outside the pod is redirected (PREROUTING), so the sidecar's own
connections, and those of the pod to itself, are left alone. Made once, however often this runs.
*/ -}}
{{- define "infertap.sidecar.redirect" -}}
{{- $sidecar := .context.Values.sidecar }}
{{- if $sidecar.redirect -}}
- name: infertap-redirect
  image: {{ include "infertap.image" .context }}
  imagePullPolicy: {{ .context.Values.image.pullPolicy }}
  command:
    - sh
    - -ec
    - |
      redirect() {
        $1 -t nat -C PREROUTING -p tcp --dport "$2" -j REDIRECT --to-ports "$3" 2>/dev/null ||
          $1 -t nat -A PREROUTING -p tcp --dport "$2" -j REDIRECT --to-ports "$3"
      }
      {{- range $sidecar.ports }}
      redirect iptables {{ .upstream }} {{ .listen }}
      if [ -s /proc/net/if_inet6 ]; then redirect ip6tables {{ .upstream }} {{ .listen }}; fi
      {{- end }}
  securityContext:
    runAsNonRoot: false
    runAsUser: 0
    runAsGroup: 0
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
      add: [NET_ADMIN, NET_RAW]
    seccompProfile:
      type: RuntimeDefault
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 64Mi}
{{ end }}
{{- end }}

{{- define "infertap.sidecar.storage" -}}
{{- if .Values.sidecar.storage }}{{ .Values.sidecar.storage }}
{{- else if .Values.storage.enabled -}}
{{ include "infertap.storage.name" . }}.{{ .Release.Namespace }}.svc:{{ .Values.storage.grpcPort }}
{{- end }}
{{- end }}

{{- /* The spool's room is requested, so that the scheduler finds a node that has it. */ -}}
{{- define "infertap.sidecar.resources" -}}
{{- $spool := dict "requests" (dict "ephemeral-storage" (printf "%dMi" (int64 .spoolMi))) }}
{{- toYaml (mergeOverwrite $spool (deepCopy .resources)) }}
{{- end }}
