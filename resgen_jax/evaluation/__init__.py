"""Floor 5: measures of reconstructions and samples, pictures, and the page that shows them.

`judge` (with its network, `classifier`), `images` and `reconstruction` measure; `pictures` (on
`grid`) and `curves` draw; `figures`, `environment` and `report` (on `page`) write report.html.
"""
