"""A comparison's table: means over seeds, the spread beside them, the best setting of each."""

from resgen_jax.runs.study import comparison_table


def row(method, seed, scale, distance, **more):
    return {
        "method": method,
        "seed": seed,
        "num_parameters": 7,
        "num_steps": 3,
        "nats": 1.0 + seed,
        "nats_are": "bound",
        "setting": {"guidance_scale": scale},
        "FD-x": distance,
        "class_agreement": 0.5,
        "variety": None,
        "seconds_per_image": 0.1,
        "network_calls": 4,
        **more,
    }


ROWS = [
    row("b", 0, 1.0, 10.0),
    row("b", 1, 1.0, 14.0),
    row("b", 0, 2.0, 6.0),
    row("b", 1, 2.0, 8.0),
    row("a", 0, 1.0, 9.0, variety=0.5),
]


def test_seeds_are_averaged_and_their_range_stands_beside():
    best, other, _ = comparison_table.by_setting(ROWS)
    assert (best["FD-x"], best["FD-x range"], best["runs"]) == (7.0, "6 to 8", 2)
    assert (other["FD-x"], other["setting"]) == (12.0, "guidance_scale=1.0")
    assert best["nats"] == 1.5
    assert best["variety"] is None


def test_methods_keep_their_order_and_settings_are_sorted_by_distance():
    table = comparison_table.by_setting(ROWS)
    assert [(each["method"], each["FD-x"]) for each in table] == [("b", 7), ("b", 12), ("a", 9)]
    assert [each["FD-x"] for each in comparison_table.best(table)] == [7, 9]
    assert "FD-x range" not in table[-1]  # of one run there is none


def test_the_table_in_markdown_has_a_column_for_whatever_some_row_has():
    lines = comparison_table.markdown(comparison_table.by_setting(ROWS)).splitlines()
    assert len(lines) == 5
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(line) for line in cells}) == 1
    assert cells[2][cells[0].index("FD-x range")] == "6 to 8"
    assert cells[4][cells[0].index("FD-x range")] == ""
