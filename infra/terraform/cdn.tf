# CloudFront in front of the server: what ../cdn/README.md asks of an edge. Every lifetime is the
# origin's own, the key is the path and the three parameters of low-latency HLS, and no error is kept
# for longer than the origin says.

locals {
  live  = "live"
  media = "media"
  # What the origin answers with: no lifetime of CloudFront's own (10 s by default) for any of them.
  errors = [400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504]
}

# Segments, parts and init segments: nothing of the query is theirs.
resource "aws_cloudfront_cache_policy" "media" {
  name        = "${var.bucket}-media"
  comment     = "Headwater: media, for as long as Cache-Control says"
  min_ttl     = 0
  default_ttl = 0
  max_ttl     = 31536000

  parameters_in_cache_key_and_forwarded_to_origin {
    cookies_config { cookie_behavior = "none" }
    headers_config { header_behavior = "none" }
    query_strings_config { query_string_behavior = "none" }
  }
}

# Playlists and manifests.
resource "aws_cloudfront_cache_policy" "playlists" {
  name        = "${var.bucket}-playlists"
  comment     = "Headwater: playlists, for as long as Cache-Control says"
  min_ttl     = 0
  default_ttl = 0
  max_ttl     = 31536000

  parameters_in_cache_key_and_forwarded_to_origin {
    enable_accept_encoding_gzip = true
    cookies_config { cookie_behavior = "none" }
    headers_config { header_behavior = "none" }
    query_strings_config {
      query_string_behavior = "whitelist"
      query_strings {
        items = ["_HLS_msn", "_HLS_part", "_HLS_skip"]
      }
    }
  }
}

# The clock for players, beacons, the pages: asked of the origin each time, with the whole query.
data "aws_cloudfront_cache_policy" "none" {
  name = "Managed-CachingDisabled"
}

data "aws_cloudfront_origin_request_policy" "all_but_host" {
  name = "Managed-AllViewerExceptHostHeader"
}

# Reads the bucket, which nobody else on the network can.
resource "aws_cloudfront_origin_access_control" "media" {
  name                              = var.bucket
  origin_access_control_origin_type = "s3"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

resource "aws_cloudfront_distribution" "live" {
  comment         = "Headwater: ${var.origin}"
  enabled         = true
  is_ipv6_enabled = true
  http_version    = "http2and3"
  price_class     = var.price_class
  aliases         = var.aliases

  origin {
    origin_id   = local.live
    domain_name = var.origin
    custom_origin_config {
      http_port              = 80
      https_port             = var.origin_port
      origin_protocol_policy = "https-only"
      origin_ssl_protocols   = ["TLSv1.2"]
      # A request for the next playlist waits for at most three target durations.
      origin_read_timeout      = 60
      origin_keepalive_timeout = 60
    }
    # All of CloudFront's locations ask one, which asks the origin once.
    origin_shield {
      enabled              = true
      origin_shield_region = aws_s3_bucket.media.region
    }
  }

  origin {
    origin_id                = local.media
    domain_name              = aws_s3_bucket.media.bucket_regional_domain_name
    origin_access_control_id = aws_cloudfront_origin_access_control.media.id
  }

  default_cache_behavior {
    target_origin_id         = local.live
    viewer_protocol_policy   = "redirect-to-https"
    allowed_methods          = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
    cached_methods           = ["GET", "HEAD"]
    cache_policy_id          = data.aws_cloudfront_cache_policy.none.id
    origin_request_policy_id = data.aws_cloudfront_origin_request_policy.all_but_host.id
  }

  dynamic "ordered_cache_behavior" {
    # The first that matches counts.
    for_each = [
      # Straight from the bucket: plain HLS and DASH of `playlists = "yes"`, without the server.
      { path = "/${var.prefix}/*", origin = local.media, policy = aws_cloudfront_cache_policy.playlists.id, compress = true },
      { path = "*.m4s", origin = local.live, policy = aws_cloudfront_cache_policy.media.id, compress = false },
      { path = "*.mp4", origin = local.live, policy = aws_cloudfront_cache_policy.media.id, compress = false },
      { path = "*.jpg", origin = local.live, policy = aws_cloudfront_cache_policy.media.id, compress = false },
      { path = "*.m3u8", origin = local.live, policy = aws_cloudfront_cache_policy.playlists.id, compress = true },
      { path = "*.mpd", origin = local.live, policy = aws_cloudfront_cache_policy.playlists.id, compress = true },
    ]
    content {
      path_pattern           = ordered_cache_behavior.value.path
      target_origin_id       = ordered_cache_behavior.value.origin
      viewer_protocol_policy = "redirect-to-https"
      allowed_methods        = ["GET", "HEAD", "OPTIONS"]
      cached_methods         = ["GET", "HEAD"]
      cache_policy_id        = ordered_cache_behavior.value.policy
      compress               = ordered_cache_behavior.value.compress
    }
  }

  dynamic "custom_error_response" {
    for_each = toset(local.errors)
    content {
      error_code            = custom_error_response.value
      error_caching_min_ttl = 0
    }
  }

  restrictions {
    geo_restriction { restriction_type = "none" }
  }

  viewer_certificate {
    acm_certificate_arn            = var.certificate
    cloudfront_default_certificate = var.certificate == null
    ssl_support_method             = var.certificate == null ? null : "sni-only"
    minimum_protocol_version       = var.certificate == null ? null : "TLSv1.2_2021"
  }
}
