{{/* What the schema cannot say: values that are each right and together do not work. */}}
{{- define "fluxpay.checks" -}}
{{- $values := .Values -}}
{{- if not (or $values.tls.enabled $values.config.trustedProxies $values.config.allowHttp) -}}
{{- fail "nobody could call the API over plain HTTP: set tls.enabled, or name the proxies that end TLS in config.trustedProxies" -}}
{{- end -}}
{{- if and $values.operator.enabled (not (or $values.tls.enabled $values.config.allowHttp)) -}}
{{- fail "the operator sends the admin token over TLS only: set tls.enabled, or operator.enabled=false" -}}
{{- end -}}
{{- if and $values.tls.certificate.enabled (not $values.tls.enabled) -}}
{{- fail "tls.certificate.enabled needs tls.enabled" -}}
{{- end -}}
{{- if and $values.httpRoute.backendCaConfigMap (not $values.tls.enabled) -}}
{{- fail "httpRoute.backendCaConfigMap needs tls.enabled: without it the pods speak plain HTTP" -}}
{{- end -}}
{{- if and $values.api.autoscaling.enabled (lt (int64 $values.api.autoscaling.maxReplicas) (int64 $values.api.autoscaling.minReplicas)) -}}
{{- fail "api.autoscaling.maxReplicas is below minReplicas" -}}
{{- end -}}
{{- if and $values.worker.keda.enabled (lt (int64 $values.worker.keda.maxReplicas) (int64 $values.worker.keda.minReplicas)) -}}
{{- fail "worker.keda.maxReplicas is below minReplicas" -}}
{{- end -}}
{{- end }}
