variable "origin" {
  description = "Host name of the Headwater server, as CloudFront reaches it over HTTPS. Its port: `origin_port`."
  type        = string
}

variable "origin_port" {
  description = "Port of that: `listen` of `[http.tls]`, with a certificate that names `origin`; or 443, where a proxy has it."
  type        = number
  default     = 8443
}

variable "bucket" {
  description = "Name of the bucket that keeps the segments: `bucket` of `[store]`."
  type        = string
}

variable "prefix" {
  description = "First folder of every key, and of the paths that are served straight from the bucket: `prefix` of `[store]`, which is empty unless the server is told, without its slash."
  type        = string
  default     = "headwater"
}

variable "aliases" {
  description = "Host names of viewers, covered by `certificate`; none for CloudFront's own."
  type        = list(string)
  default     = []
}

variable "certificate" {
  description = "ARN of an ACM certificate in us-east-1 for `aliases`."
  type        = string
  default     = null
}

variable "keep_days" {
  description = "Days after which segments are deleted. Longer than the longest window and any clip: Headwater's own retention is the finer one, this is for what it has lost sight of."
  type        = number
  default     = 35

  validation {
    condition     = var.keep_days >= 8
    error_message = "A live window may be seven days long."
  }
}

variable "price_class" {
  description = "Which of CloudFront's locations serve."
  type        = string
  default     = "PriceClass_100"
}
