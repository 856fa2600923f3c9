"""What must not matter, as tests: the origin, the axes, the unit, the order of hidden units and of rows, a constant, noise in one step or two."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAWS = {
    "translation, rotation, units: networks": "tests/networks/test_models.py::test_translation_rotation_and_units",
    "translation, rotation, units: objectives": "tests/objectives/test_laws.py::test_neither_the_origin_nor_the_axes_nor_the_unit_matters",
    "translation, rotation, units: densities": "tests/densities/test_closed_forms.py::test_moved_turned_and_rescaled_together",
    "permutation of hidden units: networks": "tests/networks/test_models.py::test_hidden_units_have_no_order",
    "permutation of hidden units: objectives": "tests/objectives/test_laws.py::test_hidden_units_may_change_places_with_their_gradients",
    "rows reordered, duplicated, concatenated": "tests/objectives/test_laws.py::test_a_mean_is_over_rows_however_they_are_ordered_repeated_or_split",
    "weights are repeated rows": "tests/objectives/test_weights.py::test_integer_weights_are_repeated_rows",
    "energy plus a constant: networks": "tests/networks/test_models.py::test_a_constant_in_the_energy_changes_nothing_else_and_its_jacobian_is_symmetric",
    "energy plus a constant: objectives": "tests/objectives/test_laws.py::test_an_energy_is_known_up_to_a_constant",
    "perturbed(a).perturbed(b) is perturbed(hypot(a, b))": "tests/densities/test_closed_forms.py::test_noise_upon_noise_adds_variances",
    "controls: a broken law is seen": "tests/objectives/test_laws.py::test_control_what_has_not_the_unit_of_a_loss_is_seen",
}


def report(args):
    """Rows of the table."""
    rows = []
    for law, test in LAWS.items():
        done = subprocess.run([sys.executable, "-m", "pytest", test], cwd=ROOT, capture_output=True, text=True)
        found = re.search(r"(\d+) passed", done.stdout)
        said = (
            f"{found[1]} cases" if found and done.returncode == 0 else f"FAILS: {done.stdout.strip().splitlines()[-1:]}"
        )
        rows.append((law, "holds", said))
    return rows, ""
