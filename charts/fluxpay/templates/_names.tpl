{{/* Names and labels. They take the root context, or a dict of `root` and `component`. */}}

{{- define "fluxpay.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Cut to 40, so that every suffix of ours still fits into the 63 of a Service, whose names know no dots. */}}
{{- define "fluxpay.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | replace "." "-" | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "fluxpay.name" .) .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "fluxpay.name" .) | replace "." "-" | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* What never changes for the life of a release: a Deployment's selector cannot. */}}
{{- define "fluxpay.selector" -}}
app.kubernetes.io/name: {{ include "fluxpay.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "fluxpay.labels" -}}
{{ include "fluxpay.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: fluxpay
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Takes `root`, `component` and a `suffix` of the name. */}}
{{- define "fluxpay.metadata" -}}
name: "{{ include "fluxpay.fullname" .root }}{{ with .suffix }}-{{ . }}{{ end }}"
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "fluxpay.labels" . | nindent 2 }}
{{- end }}

{{- define "fluxpay.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The settings of a component's pods: those of all, and its own over them. */}}
{{- define "fluxpay.podSettings" -}}
{{- $own := (index .root.Values .component | default dict).pod | default dict -}}
{{- mergeOverwrite (deepCopy .root.Values.pods) (deepCopy $own) | toYaml -}}
{{- end }}

{{- define "fluxpay.serviceAccountName" -}}
{{- $settings := include "fluxpay.podSettings" . | fromYaml -}}
{{- default (printf "%s-%s" (include "fluxpay.fullname" .root) .component) $settings.serviceAccount.name -}}
{{- end }}

{{/* The host name under which pods reach the admin API; the certificate has to name it. */}}
{{- define "fluxpay.adminHost" -}}
{{ include "fluxpay.fullname" . }}-admin.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "fluxpay.apiHost" -}}
{{ include "fluxpay.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end }}

{{- /* The metadata of a PrometheusRule. Takes root and name. */}}
{{- define "fluxpay.ruleMetadata" -}}
name: {{ include "fluxpay.fullname" .root }}-{{ .name }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "fluxpay.labels" (dict "root" .root) | nindent 2 }}
  {{- with .root.Values.rules.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
