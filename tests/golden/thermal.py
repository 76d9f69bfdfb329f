"""Thermal-diffuse weights W(Q) by direct quadrature, for thermal.csv (thermal.md tells more).

    python tests/golden/thermal.py > tests/golden/thermal.csv
"""

from pathlib import Path

import numpy as np

H, C, E, M = 6.62607015e-34, 299792458.0, 1.602176634e-19, 9.1093837015e-31
TABLES = Path(__file__).parents[2] / "src/multislice/tables"


def rows(table):
    lines = [line.split(",") for line in open(TABLES / f"{table}.csv") if line[0].isdigit()]
    return {line[1]: np.array(line[2:], float) for line in lines}


def scattering_factor(table, c, k2):
    if table == "lobato":
        return sum(c[i] * (2 + c[5 + i] * k2) / (1 + c[5 + i] * k2) ** 2 for i in range(5))
    lorentz = sum(c[i] / (c[3 + i] + k2) for i in range(3))
    return lorentz + sum(c[6 + i] * np.exp(-c[9 + i] * k2) for i in range(3))


def panels(low, high, count, points=10):
    x, w = np.polynomial.legendre.leggauss(points)
    edges = np.linspace(low, high, count + 1)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + x)).ravel(), (half * w).ravel()


def weight(table, c, rms, energy, inner, outer, start, end, q):
    """W(Q) [A^2]; inner and outer in 1/A, azimuths in rad, q = (x, y) in 1/A."""
    momentum = np.sqrt(energy * E * (2 * M * C * C + energy * E)) / C
    wavelength = H / momentum  # [m]
    sigma = 2 * np.pi * (M + energy * E / C**2) * E * wavelength / H**2 * 1e-10
    kappa = 2 * np.pi * M * E / H**2 * 1e-20
    b = 8 * np.pi**2 * rms**2
    k, wk = panels(inner, outer, 240)
    azimuth, wa = panels(start, end, 240)
    total = 0.0
    for radius, w in zip(k, wk * k):
        kx, ky = radius * np.cos(azimuth), radius * np.sin(azimuth)
        minus = (kx - q[0] / 2) ** 2 + (ky - q[1] / 2) ** 2
        plus = (kx + q[0] / 2) ** 2 + (ky + q[1] / 2) ** 2
        product = scattering_factor(table, c, minus) * scattering_factor(table, c, plus)
        both = np.exp(-b * (q[0] ** 2 + q[1] ** 2) / 4)
        total += w * np.sum(wa * product * (both - np.exp(-b * (minus + plus) / 4)))
    return total * (sigma / kappa) ** 2


TWO_PI = 2 * np.pi
print("table,symbol,rms_angstrom,energy_ev,inner,outer,start_rad,end_rad,qx,qy,weight_angstrom2")
for table, symbol, rms, energy in [
    ("lobato", "Bi", 0.0735, 200e3),
    ("lobato", "O", 0.09, 200e3),
    ("kirkland", "Sr", 0.08, 300e3),
]:
    c = rows(table)[symbol]
    for inner, outer, start, end in [
        (0.0, 12.0, 0.0, TWO_PI),
        (3.19, 7.97, 0.0, TWO_PI),
        (0.8, 2.0, 0.0, TWO_PI),
        (3.19, 7.97, 0.0, TWO_PI / 4),
        (0.8, 4.0, 2.5, 3.1),
    ]:
        for q in [(0.0, 0.0), (0.7, 0.2), (-1.9, 2.3), (5.0, -1.0), (4.4, 6.6)]:
            w = weight(table, c, rms, energy, inner, outer, start, end, q)
            numbers = (rms, energy, inner, outer, start, end, *q, w)
            print(f"{table},{symbol}," + ",".join(f"{n:.12g}" for n in numbers))
