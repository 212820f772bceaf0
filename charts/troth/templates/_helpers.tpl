{{/* The release's full name: what every object of it is called, or begins with; short enough for a
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

{{/* What selects the operator's pods; never changes during a release's life. */}}
{{- define "troth.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/*
Labels of everything. Not `managed-by: troth`, which marks what the operator itself writes and
watches; Helm's own value is what Helm asks for.
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

{{/* The issuer of one trust domain, from a dict of "root" and "domain": what its objects are called. */}}
{{- define "troth.issuerName" -}}
{{- printf "%s-issuer-%s" (include "troth.fullname" .root) .domain -}}
{{- end -}}

{{/*
What selects an issuer's pods, here and in the NetworkPolicies that the operator writes for its
callers; so the name is Troth's own whatever the release is called. The pods have no instance label:
with it, what selects the operator's would select them too.
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

{{/* What selects the gateway's pods; like an issuer's they have no instance label. */}}
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
