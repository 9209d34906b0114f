"""What a run says of itself: metrics, events, where its time goes, and who hangs."""
