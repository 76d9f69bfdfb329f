"""HyperSpy loads the files that the ignored tests `files_for_hyperspy` and `patterns_for_hyperspy` write, without a warning.

    FERROSTEM_HYPERSPY_DIR=DIR cargo test --release --test it -- --ignored for_hyperspy
    python tests/golden/hyperspy_loads.py DIR

Last run: HyperSpy 2.5.0, rosettasciio 0.15.0, h5py 3.16.0, 2026-11-22.
"""

import pathlib
import sys
import warnings

warnings.simplefilter("error")
import hyperspy.api as hs

folder = pathlib.Path(sys.argv[1])


def axes(signal):
    return [(a.name, a.units, [float(v) for v in a.axis[:3]]) for a in signal.axes_manager._axes]


def load(name):
    signals = hs.load(folder / name)
    return signals if isinstance(signals, list) else [signals]


bf, haadf = load("images.hspy")
assert (bf.metadata.General.title, haadf.metadata.General.title) == ("bf", "haadf")
assert type(haadf).__name__ == "Signal2D" and haadf.data.shape == (2, 3, 5, 7) and haadf.data.dtype == "float32"
names = [(name, units) for name, units, _ in axes(haadf)]
assert names == [("tilt", ""), ("thickness", "nm"), ("y", "Å"), ("x", "Å")], names
assert axes(haadf)[1][2] == [5.0, 10.0, 30.0]  # not evenly spaced: a DataAxis
assert haadf.axes_manager["y"].scale == 0.2 and haadf.axes_manager["x"].offset == -2.0
assert haadf.inav[10.0, 1].data[0, 0] == 1100.25
assert hs.load(folder / "images.hspy", lazy=True)[1].inav[1, 1].data[0, 0].compute() == 1100.25
assert load("even.hspy")[0].axes_manager["thickness"].scale == 5.0
(single,) = load("single.hspy")
assert single.data.shape == (5, 7) and single.axes_manager.navigation_dimension == 0
maps = {signal.metadata.General.title: signal for signal in load("polarization.hspy")}
assert sorted(maps) == ["dx", "dy", "sigma_dx", "sigma_dy"]
assert maps["dy"].data[3, 4] == -19.0 and maps["dy"].axes_manager["x"].scale == 4.0
signals = {signal.metadata.General.title: signal for signal in load("patterns.hspy")}
assert sorted(signals) == ["bf", "camera", "haadf"]
camera = signals["camera"]
assert type(camera).__name__ == "Signal2D" and camera.data.shape == (2, 3, 5, 7, 4, 6) and camera.data.dtype == "float32"
names = [(name, units) for name, units, _ in axes(camera)]
assert names == [("tilt", ""), ("thickness", "nm"), ("y", "Å"), ("x", "Å"), ("ky", "mrad"), ("kx", "mrad")], names
assert camera.axes_manager.navigation_dimension == 4 and camera.axes_manager.signal_shape == (6, 4)
assert camera.axes_manager["ky"].offset == -3.0 and camera.axes_manager["kx"].scale == 2.0
assert camera.axes_manager["x"].offset == -2.0 and camera.axes_manager["y"].scale == 0.2
lazy = [s for s in hs.load(folder / "patterns.hspy", lazy=True) if s.metadata.General.title == "camera"][0]
assert lazy.inav[4, 3, 2, 1].data[1, 2].compute() == 100_000 + 20_000 + (3 * 7 + 4) * 100 + 8
assert lazy.isig[-2.0:2.0, 0.0].data.shape == (2, 3, 5, 7, 2)
print("all loaded")
