# The bucket of `[store] kind = "s3"`, and the key that the server writes with.

resource "aws_s3_bucket" "media" {
  bucket = var.bucket
}

resource "aws_s3_bucket_public_access_block" "media" {
  bucket                  = aws_s3_bucket.media.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "media" {
  bucket = aws_s3_bucket.media.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "media" {
  bucket = aws_s3_bucket.media.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

# No versioning: a key never has other bytes, but for the head of a channel, of which only the newest
# counts.
resource "aws_s3_bucket_lifecycle_configuration" "media" {
  bucket = aws_s3_bucket.media.id

  rule {
    id     = "expire"
    status = "Enabled"
    filter {}
    expiration {
      days = var.keep_days
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_iam_user" "headwater" {
  name = "headwater-${var.bucket}"
}

# What the start-up probe tries and the drain, the readers and retention do. Buckets are not listed.
data "aws_iam_policy_document" "headwater" {
  statement {
    actions = [
      "s3:PutObject",
      "s3:GetObject",
      "s3:DeleteObject",
      "s3:AbortMultipartUpload",
    ]
    resources = ["${aws_s3_bucket.media.arn}/*"]
  }
}

resource "aws_iam_user_policy" "headwater" {
  name   = "media"
  user   = aws_iam_user.headwater.name
  policy = data.aws_iam_policy_document.headwater.json
}

# What CloudFront may read, in the name of its distribution alone.
data "aws_iam_policy_document" "readers" {
  statement {
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.media.arn}/*"]
    principals {
      type        = "Service"
      identifiers = ["cloudfront.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "AWS:SourceArn"
      values   = [aws_cloudfront_distribution.live.arn]
    }
  }
}

resource "aws_s3_bucket_policy" "readers" {
  bucket = aws_s3_bucket.media.id
  policy = data.aws_iam_policy_document.readers.json
}
