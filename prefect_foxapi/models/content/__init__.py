"""The content of attachments: their media types and their digests."""
