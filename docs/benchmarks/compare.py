#!/usr/bin/env python3
"""Times abTEM and ferrostem on the same cases, alternately, on the same machine.

    pip install abtem pyfftw h5py
    cargo build --release
    python docs/benchmarks/compare.py --ferrostem target/release/ferrostem

prints medians and ratios, and writes all raw numbers to compare.json. The cases are polar BiFeO3, static, 200 keV, 30 mrad,
HAADF 80-105 mrad, single precision, slices of half a cell:

    M1         5 x 5 x 20 cells, 256 x 256 pixels, 32 x 32 probes over one cell
    M2         10 x 10 x 20 cells, 512 x 512 pixels, 16 x 16 probes over one cell
    P1         PRISM, f = 2, of the specimen of M2, 190 x 190 probes over the whole of it
    potential  50,000 displaced atoms, 50 different slices of 1024 x 1024 pixels

For ferrostem it is the wall time of the whole process, from the start of the program to the file; for abTEM the computation
alone, in a process that has imported, built its potential and planned its transforms before (the potential is what is timed in
the last case; there ferrostem sends one probe through it). README.md beside this file says more.
"""

import argparse, datetime, json, os, platform, random, statistics, subprocess, sys, tempfile, time

CELL = 3.965  # Å
SLICE = CELL / 2
ENERGY_KEV, SEMIANGLE_MRAD, INNER_MRAD, OUTER_MRAD = 200, 30, 80, 105
# Atom, place in units of the cell, shift along [110] [Å].
BASIS = [("Bi", (0, 0, 0), 0), ("Fe", (0.5, 0.5, 0.5), 0.25),
         ("O", (0.5, 0.5, 0), -0.15), ("O", (0.5, 0, 0.5), -0.15), ("O", (0, 0.5, 0.5), -0.15)]
# Waves that abTEM sends side by side: its fastest on four cores, where the plan "auto" takes gigabytes.
BATCH = 16
# Beams of P1 of which abTEM computes the scattering matrix [mrad], cells of the thin specimen on which it sums probes up.
PART_MRAD, PART_CELLS = 10, 2

# Cells along x, y and z, pixels, probes along x, scanned from cell to cell.
CASES = {
    "M1": {"cells": [5, 5, 20], "pixels": 256, "probes": 32, "scan": [2, 3]},
    "M2": {"cells": [10, 10, 20], "pixels": 512, "probes": 16, "scan": [5, 6]},
    "P1": {"cells": [10, 10, 20], "pixels": 512, "probes": 190, "scan": [0, 10], "interpolation": 2},
    "potential": {"cells": [20, 20, 25], "pixels": 1024, "probes": 1, "scan": [10, 11], "rms": 0.08},
}
# Four cells of P1 on the thin specimen: the probes that stand for all, and an image that both programs can be seen to agree in.
PART = {**CASES["P1"], "cells": [10, 10, PART_CELLS], "probes": 38, "scan": [0, 2]}


def atoms_of(case):
    """Symbols and positions [Å]; a "rms" displaces every atom along each axis, the same in every run."""
    draw = random.Random(1)
    symbols, positions = [], []
    nx, ny, nz = case["cells"]
    for corner in ((i, j, k) for i in range(nx) for j in range(ny) for k in range(nz)):
        for symbol, place, shift in BASIS:
            along = (shift / 2**0.5, shift / 2**0.5, CELL / 4)
            rms = case.get("rms", 0)
            # No atom is to leave its slice: both programs then have the same.
            noise = [draw.gauss(0, rms) if rms and axis < 2 else 0 for axis in range(3)]
            symbols.append(symbol)
            positions.append([CELL * (corner[a] + place[a]) + along[a] + noise[a] for a in range(3)])
    return symbols, positions


# ---- ferrostem

SETTINGS = """seed = 1
tilts_mrad = [[0.0, 0.0]]
[structure]
path = "specimen.xyz"
a_elements = ["Bi"]
b_elements = ["Fe"]
[grid]
pixels = [{pixels}, {pixels}]
[multislice]
method = "{method}"
scattering_factors = "lobato"
slice_thickness_angstrom = {slice}
precision = "f32"
exit_thicknesses_nm = [{height}]
{prism}[probe]
energy_kev = {energy}.0
semiangle_mrad = {semiangle}.0
aperture = "soft"
[scan]
start_angstrom = [{start}, {start}]
end_angstrom = [{end}, {end}]
points = [{probes}, {probes}]
[detectors.haadf]
inner_mrad = {inner}.0
outer_mrad = {outer}.0
"""


def write_case(case, folder):
    """The structure and the settings of a case, in a folder of its own."""
    os.makedirs(folder)
    symbols, positions = atoms_of(case)
    x, y, z = (CELL * n for n in case["cells"])
    with open(os.path.join(folder, "specimen.xyz"), "w") as out:
        out.write(f'{len(symbols)}\nLattice="{x} 0 0 0 {y} 0 0 0 {z}" Properties=species:S:1:pos:R:3 pbc="T T T"\n')
        out.writelines("{} {:.6f} {:.6f} {:.6f}\n".format(s, *p) for s, p in zip(symbols, positions))
    f = case.get("interpolation")
    start, end = (CELL * cell for cell in case["scan"])
    text = SETTINGS.format(pixels=case["pixels"], slice=SLICE, height=round(z / 10, 6), probes=case["probes"],
                           start=round(start, 6), end=round(end, 6), energy=ENERGY_KEV, semiangle=SEMIANGLE_MRAD,
                           inner=INNER_MRAD, outer=OUTER_MRAD, method="prism" if f else "multislice",
                           prism=f"[multislice.prism]\ninterpolation = {f}\n" if f else "")
    with open(os.path.join(folder, "settings.toml"), "w") as out:
        out.write(text)


def run_ferrostem(program, folder, threads):
    """Wall and processor time of the whole process [s], its peak memory [GB]."""
    command = [program, "simulate", "settings.toml", "-o", "image.hspy", "--force", "--quiet", "--threads", str(threads)]
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        sys.exit(f"{' '.join(command)} in {folder} failed")
    return {"tool": "ferrostem", "threads": threads, "seconds": seconds,
            "processor_seconds": usage.ru_utime + usage.ru_stime, "memory_gb": memory_gb(usage)}


def memory_gb(usage):
    """Peak memory; Linux counts KiB, macOS bytes."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


# ---- abTEM, in processes of its own (--abtem CASE)

def abtem_worker(name, threads, full):
    """Runs a case in abTEM; the last line printed is the result."""
    import resource
    import abtem, dask
    from threadpoolctl import threadpool_limits
    abtem.config.set({"device": "cpu", "precision": "float32", "fft": "fftw", "fftw.threads": 1, "diagnostics.progress_bar": False})
    dask.config.set(scheduler="threads", num_workers=threads)
    threadpool_limits(1)  # dask's threads each take a batch; threads below them only get in their way
    case = CASES[name]
    result = {"tool": "abTEM", "threads": threads}
    begin = time.perf_counter()
    built = build_potential(abtem, case)
    result["potential_seconds"] = time.perf_counter() - begin
    if name == "potential":
        result["seconds"] = result["potential_seconds"]
    elif name == "P1":
        result.update((prism_whole if full else prism_parts)(abtem, case, built, threads))
    else:
        probe = abtem.Probe(semiangle_cutoff=SEMIANGLE_MRAD, energy=ENERGY_KEV * 1e3)
        probe.grid.match(built)
        # One batch, so that the transforms are planned.
        probe.scan(built, scan=grid_scan(abtem, case, 4), detectors=annulus(abtem), max_batch=BATCH).compute()
        begin = time.perf_counter()
        image = probe.scan(built, scan=grid_scan(abtem, case), detectors=annulus(abtem), max_batch=BATCH).compute()
        result["seconds"] = time.perf_counter() - begin
        result.update(brightness(image.array))
    result["memory_gb"] = memory_gb(resource.getrusage(resource.RUSAGE_SELF))
    print(json.dumps(result))


def build_potential(abtem, case):
    from ase import Atoms
    symbols, positions = atoms_of(case)
    atoms = Atoms(symbols, positions=positions, cell=[CELL * n for n in case["cells"]], pbc=True)
    atoms.wrap()
    potential = abtem.Potential(atoms, gpts=case["pixels"], slice_thickness=SLICE, parametrization="lobato",
                                projection="infinite")
    return potential.build(lazy=True).compute()


def annulus(abtem):
    return abtem.AnnularDetector(inner=INNER_MRAD, outer=OUTER_MRAD)


def grid_scan(abtem, case, probes=None):
    start, end = (CELL * cell for cell in case["scan"])
    return abtem.GridScan(start=(start, start), end=(end, end), gpts=probes or case["probes"], endpoint=False)


def scattering_matrix(abtem, potential, case, semiangle=SEMIANGLE_MRAD):
    """The matrix, what is computed of it, and how long that takes [s]."""
    matrix = abtem.SMatrix(potential=potential, energy=ENERGY_KEV * 1e3, semiangle_cutoff=semiangle,
                           interpolation=case["interpolation"], downsample="cutoff")
    begin = time.perf_counter()
    array = matrix.build(lazy=True, max_batch=BATCH).compute()
    return matrix, array, time.perf_counter() - begin


def reduction(abtem, array, case, threads):
    """The image, and how long the sums take [s]: matrix products one after the other, each on all threads."""
    from threadpoolctl import threadpool_limits
    begin = time.perf_counter()
    with threadpool_limits(threads):
        image = array.reduce(scan=grid_scan(abtem, case), detectors=annulus(abtem))
    return image, time.perf_counter() - begin


def prism_whole(abtem, case, potential, threads):
    matrix, array, matrix_seconds = scattering_matrix(abtem, potential, case)
    image, reduction_seconds = reduction(abtem, array, case, threads)
    return {"seconds": matrix_seconds + reduction_seconds, "matrix_seconds": matrix_seconds, "beams": len(matrix),
            "reduction_seconds": reduction_seconds, **brightness(image.array)}


def prism_parts(abtem, case, potential, threads):
    """The beams of a narrow cone through the whole specimen; all beams through a thin one, and the sums of a small image."""
    scattering_matrix(abtem, potential, case, PART_MRAD / 4)  # plans the transforms
    part, _, part_seconds = scattering_matrix(abtem, potential, case, PART_MRAD)
    matrix, array, _ = scattering_matrix(abtem, build_potential(abtem, PART), PART)
    image, image_seconds = reduction(abtem, array, PART, threads)
    matrix_seconds = part_seconds * len(matrix) / len(part)
    reduction_seconds = image_seconds * (case["probes"] / PART["probes"]) ** 2
    return {"seconds": matrix_seconds + reduction_seconds, "extrapolated": True,
            "beams": len(matrix), "part_beams": len(part), "part_seconds": part_seconds, "matrix_seconds": matrix_seconds,
            "part_probes": PART["probes"] ** 2, "image_seconds": image_seconds, "reduction_seconds": reduction_seconds,
            **brightness(image.array)}


def brightness(image):
    return {"mean": float(image.mean()), "max": float(image.max())}


def run_abtem(name, threads, full):
    command = [sys.executable, os.path.abspath(__file__), "--abtem", name, "--threads", str(threads)] + ["--full"] * full
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(output.strip().splitlines()[-1])


# ---- both, side by side

def measure(name, arguments, work):
    """Runs of one case: abTEM, ferrostem on each number of threads, and again."""
    folder = os.path.join(work, name)
    write_case(CASES[name], folder)
    runs = []
    for repeat in range(arguments.repeats):
        turn = [run_abtem(name, max(arguments.threads), arguments.full)]
        turn += [run_ferrostem(arguments.ferrostem, folder, threads) for threads in arguments.threads]
        for run in turn:
            run.update(case=name, repeat=repeat, load=os.getloadavg()[0])
            print(f"  {name} {run['tool']}, {run['threads']} threads: {run['seconds']:.2f} s", file=sys.stderr)
        runs += turn
    if name == "P1" and not arguments.full:
        folder = os.path.join(work, "P1 part")
        write_case(PART, folder)
        run_ferrostem(arguments.ferrostem, folder, max(arguments.threads))
    return runs, folder


def images(folders):
    """ferrostem's commit, and the mean and maximum of its images. Last of all: a large parent's memory counts as its child's."""
    import h5py
    found = {}
    for name, folder in folders.items():
        with h5py.File(os.path.join(folder, "image.hspy")) as file:
            commit = str(file["provenance"].attrs["commit"])
            if name != "potential":
                found[name] = brightness(file["Experiments/haadf/data"][...])
    return commit, found


def show(runs, pictures, names):
    def median(key, of):
        return statistics.median(run[key] for run in of)

    for name in names:
        abtem = [run for run in runs if run["case"] == name and run["tool"] == "abTEM"]
        peer, extrapolated = median("seconds", abtem), abtem[0].get("extrapolated", False)
        mark, peer_memory = " (EXTRAPOLATED)" * extrapolated, median("memory_gb", abtem)
        print(f"\n{name}: abTEM on {abtem[0]['threads']} threads {peer:.2f} s{mark}, {peer_memory:.2f} GB")
        if extrapolated:
            run = abtem[0]
            probes = CASES[name]["probes"] ** 2
            print(f"    from {run['part_beams']} of {run['beams']} beams of the scattering matrix, and from {run['part_probes']} of "
                  f"{probes} probes\n    on a specimen {PART_CELLS} cells thick; memory is that of the parts. --full runs all of it.")
        for threads in sorted({run["threads"] for run in runs if run["tool"] == "ferrostem"}):
            own = [run for run in runs if run["case"] == name and run["tool"] == "ferrostem" and run["threads"] == threads]
            ratios = [a["seconds"] / b["seconds"] for a, b in zip(abtem, own)]
            seconds, memory = median("seconds", own), median("memory_gb", own)
            print(f"    ferrostem on {threads}: {seconds:.2f} s, {memory:.2f} GB; abTEM takes {peer / seconds:.1f} times as long "
                  f"({min(ratios):.1f} to {max(ratios):.1f} in single turns)")
        if name in pictures:
            what = f"image of 2 x 2 cells, {PART_CELLS} cells thick" if extrapolated else "image"
            for key, own in pictures[name].items():
                other = abtem[0][key]
                print(f"    {key} of the {what}: abTEM {other:.3e}, ferrostem {own:.3e}, ratio {other / own:.3f}")
    print("\nabTEM spreads an atom over its four nearest pixels, ferrostem places it exactly: off the pixels, abTEM's columns are\n"
          "darker, as are all of them in M1, and all but Bi in M2. The same work, not quite the same image: see README.md.")


def about(program):
    """The machine and the versions."""
    from importlib.metadata import version
    model = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), model)

    said = subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return {"date": datetime.date.today().isoformat(), "processor": model, "cores": cores(), "system": platform.platform(),
            "load_before": os.getloadavg()[0], "python": platform.python_version(), "ferrostem": said,
            "vectors": os.environ.get("FERROSTEM_VECTORS", "widest"),
            **{package: version(package) for package in ("abtem", "pyfftw", "numpy", "dask", "h5py")}}


def cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ferrostem", default="target/release/ferrostem", metavar="PROGRAM")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, cores()}),
                        help="of ferrostem; abTEM has the most of them [1 and all cores]")
    parser.add_argument("--full", action="store_true", help="run P1 whole in abTEM: minutes each time")
    parser.add_argument("--output", default="compare.json", metavar="FILE", help="raw numbers [compare.json]")
    parser.add_argument("--abtem", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.abtem:
        return abtem_worker(arguments.abtem, max(arguments.threads), arguments.full)
    arguments.ferrostem = os.path.abspath(arguments.ferrostem)
    if not os.path.exists(arguments.ferrostem):
        parser.error(f"no {arguments.ferrostem}; `cargo build --release` makes it, --ferrostem says where it is")
    report = {"about": about(arguments.ferrostem), "runs": []}
    print(report["about"], file=sys.stderr)
    with tempfile.TemporaryDirectory() as work:
        folders = {}
        for name in arguments.cases:
            runs, folders[name] = measure(name, arguments, work)
            report["runs"] += runs
        report["about"]["commit"], report["ferrostem_images"] = images(folders)
    with open(arguments.output, "w") as out:
        json.dump(report, out, indent=1)
    show(report["runs"], report["ferrostem_images"], arguments.cases)


if __name__ == "__main__":
    main()
