# Headwater behind CloudFront, with S3 as its durable store:
#
#   terraform init && terraform apply -var origin=origin.example.org -var bucket=example-live
#
# The server itself runs where you have it: a machine near your broadcasters, or ../kubernetes.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.30"
    }
  }
}
