output "domain" {
  description = "Where viewers watch: `public_url` of `[http]` is https:// and this, or an alias of it."
  value       = aws_cloudfront_distribution.live.domain_name
}

output "store" {
  description = "The server's `[store]`. Its credentials: an access key of `user`, made by hand so that it is in no state file."
  value = {
    kind   = "s3"
    bucket = aws_s3_bucket.media.id
    prefix = "${var.prefix}/"
    region = aws_s3_bucket.media.region
    user   = aws_iam_user.headwater.name
  }
}
