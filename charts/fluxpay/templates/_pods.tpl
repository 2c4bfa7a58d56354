{{/* What every pod of ours has in common. Each takes a dict of `root`, `component` and what it names. */}}

{{/* Labels and annotations of a pod template; with `config`, a changed setting rolls the pods. */}}
{{- define "fluxpay.podMetadata" -}}
{{- $settings := include "fluxpay.podSettings" . | fromYaml -}}
labels:
  {{- include "fluxpay.labels" . | nindent 2 }}
  {{- with $settings.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := deepCopy $settings.annotations }}
{{- if .config }}
{{- $_ := set $annotations "checksum/config" (include (print .root.Template.BasePath "/config.yaml") .root | sha256sum) }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Where a pod runs, and as whom. Who speaks to Kubernetes mounts a token by itself. */}}
{{- define "fluxpay.podBasics" -}}
{{- $settings := include "fluxpay.podSettings" . | fromYaml -}}
serviceAccountName: {{ include "fluxpay.serviceAccountName" . | quote }}
automountServiceAccountToken: false
# A Service called fluxpay would set a FLUXPAY_PORT that is no number.
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- if not (kindIs "invalid" $settings.runAsUser) }}
  runAsUser: {{ int64 $settings.runAsUser }}
  {{- end }}
  {{- if not (kindIs "invalid" $settings.runAsGroup) }}
  runAsGroup: {{ int64 $settings.runAsGroup }}
  {{- end }}
  {{- if not (kindIs "invalid" $settings.fsGroup) }}
  fsGroup: {{ int64 $settings.fsGroup }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with $settings.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $settings.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $settings.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* How the pods of a Deployment lie among zones and nodes. */}}
{{- define "fluxpay.placement" -}}
{{- $settings := include "fluxpay.podSettings" . | fromYaml -}}
affinity:
  {{- if $settings.affinity }}
  {{- toYaml $settings.affinity | nindent 2 }}
  {{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "fluxpay.selector" . | nindent 14 }}
  {{- end }}
topologySpreadConstraints:
  {{- if $settings.topologySpreadConstraints }}
  {{- toYaml $settings.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "fluxpay.selector" $ | nindent 8 }}
    # The pods of the version before do not count.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
  {{- end }}
{{- end }}

{{/* How a container is shut in. There is no value to loosen it. */}}
{{- define "fluxpay.container" -}}
{{- $settings := include "fluxpay.podSettings" . | fromYaml -}}
image: {{ include "fluxpay.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  privileged: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
resources:
  {{- toYaml $settings.resources | nindent 2 }}
{{- end }}

{{/* The environment: of each secret of `secrets` the file that holds it, and what the values add. */}}
{{- define "fluxpay.env" -}}
{{- $settings := include "fluxpay.podSettings" . | fromYaml -}}
{{- range .secrets }}
- name: FLUXPAY_{{ . | upper | replace "-" "_" }}_FILE
  value: /run/fluxpay/secrets/{{ . }}
{{- end }}
{{- with $settings.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "fluxpay.volumeMounts" -}}
{{- $settings := include "fluxpay.podSettings" . | fromYaml -}}
- name: tmp
  mountPath: /tmp
{{- if .secrets }}
- name: {{ .volume | default "secrets" }}
  mountPath: /run/fluxpay/secrets
  readOnly: true
{{- end }}
{{- if and .tls .root.Values.tls.enabled }}
- name: tls
  mountPath: /run/fluxpay/tls
  readOnly: true
{{- end }}
{{- if and .ca (include "fluxpay.ca" .root) }}
- name: authority
  mountPath: /run/fluxpay/authority
  readOnly: true
{{- end }}
{{- if .token }}
- name: token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}
{{- with $settings.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Not empty where the authority of the pods' certificate is known. */}}
{{- define "fluxpay.ca" -}}
{{- if and .Values.tls.enabled .Values.tls.caKey -}}
{{ .Values.tls.caKey }}
{{- end -}}
{{- end }}

{{/* The volume called `name` with a file for each of `secrets`: a container gets those that it needs and no other. */}}
{{- define "fluxpay.secretsVolume" -}}
{{- $settings := include "fluxpay.podSettings" . | fromYaml -}}
{{- $values := .root.Values -}}
{{- $places := dict
  "database-url" (dict "secret" $values.database.existingSecret "key" $values.database.key)
  "owner-database-url" (dict "secret" $values.database.owner.existingSecret "key" $values.database.owner.key)
  "redis-url" (dict "secret" $values.redis.existingSecret "key" $values.redis.key)
  "admin-token" (dict "secret" $values.admin.existingSecret "key" $values.admin.key) -}}
- name: {{ .name }}
  {{- if $settings.secretsVolume }}
  {{- toYaml $settings.secretsVolume | nindent 2 }}
  {{- else }}
  projected:
    defaultMode: 0440
    sources:
      {{- range .secrets }}
      {{- $place := index $places . }}
      - secret:
          name: {{ $place.secret | quote }}
          items:
            - key: {{ $place.key | quote }}
              path: {{ . }}
      {{- end }}
  {{- end }}
{{- end }}

{{/* The volumes behind those mounts. */}}
{{- define "fluxpay.volumes" -}}
{{- $settings := include "fluxpay.podSettings" . | fromYaml -}}
{{- $values := .root.Values -}}
- name: tmp
  emptyDir:
    sizeLimit: 32Mi
{{- if .secrets }}
{{ include "fluxpay.secretsVolume" (merge (dict "name" "secrets") .) }}
{{- end }}
{{- if and .tls $values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ $values.tls.existingSecret | quote }}
    defaultMode: 0440
    items:
      - key: tls.crt
        path: tls.crt
      - key: tls.key
        path: tls.key
{{- end }}
{{- if and .ca (include "fluxpay.ca" .root) }}
- name: authority
  secret:
    secretName: {{ $values.tls.existingSecret | quote }}
    defaultMode: 0440
    items:
      - key: {{ $values.tls.caKey | quote }}
        path: ca.crt
{{- end }}
{{- if .token }}
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end }}
{{- with $settings.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Holds a pod back until the schema is there, where no hook has seen to that before. */}}
{{- define "fluxpay.waitForSchema" -}}
- name: wait-for-schema
  {{- include "fluxpay.container" . | nindent 2 }}
  args: [migrate, --check]
  env:
    {{- include "fluxpay.env" (merge (dict "secrets" (list "database-url")) .) | trim | nindent 4 }}
  volumeMounts:
    {{- include "fluxpay.volumeMounts" (merge (dict "secrets" (list "database-url")) (omit . "tls")) | nindent 4 }}
{{- end }}

{{/* `https` where the pods end TLS. */}}
{{- define "fluxpay.scheme" -}}
{{ ternary "https" "http" .Values.tls.enabled }}
{{- end }}
