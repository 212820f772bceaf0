{{/* The release's full name: the name of each of its objects, or its prefix. Truncated to leave room for a
suffix within 63 characters. */}}
{{- define "troth.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "troth.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "troth.fullname" .) -}}
{{- end -}}

{{/* The admission policy of reviews, and its binding. The worker reads them by this name. */}}
{{- define "troth.reviewAdmission" -}}
{{- include "troth.fullname" . }}-dead-letter-reviews
{{- end -}}

{{/* Selector labels of the operator's pods; immutable for the life of a release. */}}
{{- define "troth.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/*
Labels of all objects. `managed-by` has Helm's value, because `managed-by: troth` marks the objects
that the operator itself writes and watches.
*/}}
{{- define "troth.labels" -}}
{{ include "troth.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "troth.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Name of the objects of one trust domain's issuer, from a dict with "root" and "domain". */}}
{{- define "troth.issuerName" -}}
{{- printf "%s-issuer-%s" (include "troth.fullname" .root) .domain -}}
{{- end -}}

{{/*
Selector labels of an issuer's pods. The operator's NetworkPolicies for callers use them too, so they do
not depend on the release name. The pods have no instance label, because with it the operator's
selector would match them.
*/}}
{{- define "troth.issuerSelectorLabels" -}}
app.kubernetes.io/name: troth
app.kubernetes.io/component: issuer
troth.dev/trust-domain: {{ .domain | quote }}
{{- end -}}

{{- define "troth.issuerPodLabels" -}}
{{ include "troth.issuerSelectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "troth.issuerLabels" -}}
{{ include "troth.issuerPodLabels" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{/* Selector labels of the gateway's pods, without an instance label like those of an issuer. */}}
{{- define "troth.gatewaySelectorLabels" -}}
app.kubernetes.io/name: troth
app.kubernetes.io/component: webhook-gateway
troth.dev/gateway: {{ .Values.gateway.name }}
{{- end -}}

{{- define "troth.gatewayPodLabels" -}}
{{ include "troth.gatewaySelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "troth.gatewayLabels" -}}
{{ include "troth.gatewayPodLabels" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Selector labels of the auditor's pods, without an instance label like those of an issuer. */}}
{{- define "troth.auditorSelectorLabels" -}}
app.kubernetes.io/name: troth
app.kubernetes.io/component: auditor
{{- end -}}

{{- define "troth.auditorPodLabels" -}}
{{ include "troth.auditorSelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "troth.auditorLabels" -}}
{{ include "troth.auditorPodLabels" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "troth.reviewName" -}}
{{- printf "%s-review" (include "troth.fullname" .) -}}
{{- end -}}

{{/* Selector labels of the review worker's pod, without an instance label like those of an issuer. */}}
{{- define "troth.reviewSelectorLabels" -}}
app.kubernetes.io/name: troth
app.kubernetes.io/component: review
{{- end -}}

{{- define "troth.reviewPodLabels" -}}
{{ include "troth.reviewSelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "troth.reviewLabels" -}}
{{ include "troth.reviewPodLabels" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/*
Labels of the pods of a hook, from a dict with "root" and "component". They have no instance label,
because with it the operator's selector would match them.
*/}}
{{- define "troth.hookLabels" -}}
app.kubernetes.io/name: troth
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Spec of the pod of a hook, from a dict with "root", "account", "name" and "command". */}}
{{- define "troth.hookPod" -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: true
enableServiceLinks: false
restartPolicy: Never
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
containers:
- name: {{ .name }}
  image: {{ include "troth.image" .root | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: {{ .command | toJson }}
  env:
  # the root file system is read-only
  - {name: PYTHONDONTWRITEBYTECODE, value: "1"}
  - name: POD_NAMESPACE
    valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
  resources:
    requests: {cpu: 50m, memory: 64Mi}
    limits: {memory: 256Mi}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Fails if the cluster lacks the CRDs of the Prometheus Operator, from a dict with "root" and "value", the
value that needs them.
*/}}
{{- define "troth.needsPrometheusOperator" -}}
{{- if not (.root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") -}}
{{- fail (printf "%s needs the CRDs of the Prometheus Operator, and this cluster has no API monitoring.coreos.com/v1; install them first, or set %s=false (`helm template` queries no cluster: add --api-versions monitoring.coreos.com/v1)" .value .value) -}}
{{- end -}}
{{- end -}}

{{/* Endpoint of a PodMonitor, from the values of monitoring.podMonitor. */}}
{{- define "troth.podMonitorEndpoint" -}}
port: http
path: /metrics
interval: {{ .interval }}
scrapeTimeout: {{ .scrapeTimeout }}
# The labels namespace, name and endpoint of a sample name a resource, not the scraped pod.
honorLabels: true
{{- end -}}

{{/*
The namespaces that the operator watches, as a JSON array: `namespaces`, the release's own and the
gateway's. Empty if it watches all.
*/}}
{{- define "troth.watchedNamespaces" -}}
{{- $found := list -}}
{{- if .Values.namespaces -}}
{{- $found = append .Values.namespaces .Release.Namespace -}}
{{- if .Values.gateway.enabled -}}
{{- $found = append $found .Values.gateway.namespace -}}
{{- end -}}
{{- end -}}
{{- $found | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* Environment variables of OpenTelemetry, for each program alike. They are empty without tracing. */}}
{{- define "troth.tracingEnv" -}}
{{- with .Values.tracing }}
{{- if .enabled }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- {name: OTEL_TRACES_EXPORTER, value: otlp}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: OTEL_TRACES_SAMPLER, value: {{ .sampler }}}
- {name: OTEL_TRACES_SAMPLER_ARG, value: {{ .samplerArgument | quote }}}
{{- $attributes := list "k8s.namespace.name=$(POD_NAMESPACE)" "k8s.pod.name=$(POD_NAME)" }}
{{- range $name, $value := .resourceAttributes }}
{{- $attributes = append $attributes (printf "%s=%s" $name $value) }}
{{- end }}
- {name: OTEL_RESOURCE_ATTRIBUTES, value: {{ join "," $attributes | quote }}}
{{- if .caConfigMap.name }}
- {name: OTEL_EXPORTER_OTLP_CERTIFICATE, value: /var/run/troth/collector/ca.crt}
{{- end }}
{{- with .headersSecret }}
{{- if .name }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key | quote }}}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Volume of the collector's CA, and its mount; empty without one. */}}
{{- define "troth.tracingVolume" -}}
{{- with .Values.tracing }}
{{- if and .enabled .caConfigMap.name }}
- name: collector-ca
  configMap:
    name: {{ .caConfigMap.name }}
    items: [{key: {{ .caConfigMap.key | quote }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- end -}}

{{- define "troth.tracingVolumeMount" -}}
{{- with .Values.tracing }}
{{- if and .enabled .caConfigMap.name }}
- {name: collector-ca, mountPath: /var/run/troth/collector, readOnly: true}
{{- end }}
{{- end }}
{{- end -}}

{{/* Egress rules to the collector of traces and, if `dns` is true, to the resolver of its name. */}}
{{- define "troth.tracingEgress" -}}
{{- $root := .root }}
{{- $dns := .dns }}
{{- with .root.Values.tracing }}
{{- if and .enabled .to }}
- to: {{- toYaml .to | nindent 2 }}
  ports: [{protocol: TCP, port: {{ .port }}}]
{{- with $root.Values.networkPolicy.dns }}
{{- if and $dns .to }}
- to: {{- toYaml .to | nindent 2 }}
  ports: [{protocol: UDP, port: {{ .port }}}, {protocol: TCP, port: {{ .port }}}]
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* CEL: whether the map `name` nests at most `levels` further levels, each with at most 2,000 members. The size comes
first, because CEL's time for a wide map grows with the square of its size. */}}
{{- define "troth.isShallow" -}}
{{- if eq (int .levels) 0 -}}
size({{ .name }}) == 0
{{- else -}}
{{- $inner := printf "level%d" (int .levels) -}}
size({{ .name }}) <= 2000 && {{ .name }}.all(key, [{{ .name }}[key]].all({{ $inner }}, {{ include "troth.isShallow" (dict "name" $inner "levels" (sub (int .levels) 1)) }}))
{{- end -}}
{{- end }}
