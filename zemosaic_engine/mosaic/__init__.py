"""The mosaic: where its parts end, and how even it is there."""
