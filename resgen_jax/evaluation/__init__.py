"""Floor 6: measures of reconstructions and samples, pictures, and the page that shows them."""
