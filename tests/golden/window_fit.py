"""Golden numbers of tests/it/window_fit.rs: the window fit by SciPy's least_squares.

Made with NumPy 2 and SciPy 1 (`python tests/golden/window_fit.py`), in double precision from pixels rounded to single.
A peak that is no Gaussian on a ground that is not flat, window radius 1.0 Å, recentred once. Tolerance of the test:
1e-7 Å, what least_squares itself leaves (xtol = ftol = gtol = 1e-15).
"""

import numpy as np
import scipy
from scipy.optimize import least_squares

DY, DX, ROWS, COLS = 0.0991075, 0.11, 40, 36
RADIUS = 1.0


def image(centre):
    y, x = np.mgrid[:ROWS, :COLS] * np.array([DY, DX])[:, None, None]
    dx, dy = x - centre[0], y - centre[1]
    r2 = dx * dx + 1.3 * dy * dy + 0.4 * dx * dy
    peak = (1 + 0.2 * dx - 0.1 * dy) / (1 + 6 * r2) ** 2
    return (peak + 0.02 * y).astype(np.float32).astype(float)


def fit(data, expected):
    x0, y0 = expected
    y, x = np.mgrid[-ROWS : 2 * ROWS, -COLS : 2 * COLS]
    inside = np.hypot(x * DX - x0, y * DY - y0) <= RADIUS
    x, y = x[inside], y[inside]
    values = data[y % ROWS, x % COLS]

    def residual(p):
        h, cx, cy, a, b, c, constant = p
        dx, dy = x * DX - cx, y * DY - cy
        return h * np.exp(-0.5 * (a * dx * dx + 2 * b * dx * dy + c * dy * dy)) + constant - values

    start = [np.ptp(values), x0, y0, 6.0, 0.0, 6.0, values.min()]
    found = least_squares(residual, start, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=10000)
    return found.x, np.sqrt(np.mean(found.fun**2))


print("numpy", np.__version__, "scipy", scipy.__version__)
for centre, expected in [((1.9, 2.0), (2.0, 2.1)), ((1.2, 1.0), (1.0, 1.1)), ((0.4, 2.6), (0.5, 2.5))]:
    data = image(centre)
    first, _ = fit(data, expected)
    p, rms = fit(data, first[1:3])
    print(f"({list(centre)}, {list(expected)}, [{p[1]:.9f}, {p[2]:.9f}], {p[0]:.8f}, {p[6]:.8f}, {rms:.8f}),")
