"""A list of queries to a results file, as hloc's `localize_sfm` takes and writes them."""

from pathlib import Path

from dust3r_sfm.localization.localize import localize
from dust3r_sfm.localization.queries import read_query_list
from dust3r_sfm.options import LocalizeOptions, PredictorOptions, RunOptions
from dust3r_sfm.system.terminal import Terminal


def query_list(
    predictor: PredictorOptions,
    run: RunOptions,
    reference_sfm: Path,
    image_dir: Path,
    queries: Path,
    results: Path,
    retrieval: Path | None = None,
    features: Path | None = None,
    matches: Path | None = None,
    depth_maps: Path | None = None,
    depth_unit: float = 0.001,
    num_loc: int = 20,
    ransac_thresh: float | None = None,
    covisibility_clustering: bool = False,
    prepend_camera_name: bool = False,
) -> None:
    """Localize the queries of a list and write a file for visuallocalization.net.

    Args:
        predictor: Which predictor.
        run: How to run.
        reference_sfm: COLMAP model of the mapping images.
        image_dir: Folder that the names of the model and of the list are relative to.
        queries: List with intrinsics; a glob in quotes takes several.
        results: Text file for the poses; a JSON file with reasons is written beside it.
        retrieval: hloc's pairs file; default: our own retrieval.
        features: hloc's feature file, with --matches.
        matches: hloc's match file.
        depth_maps: Folder of depth maps of the mapping images.
        depth_unit: Metres of a step of a depth map.
        num_loc: Retrieved images that a query is compared with.
        ransac_thresh: Largest reprojection error of an inlier, pixels; default: 12, and more for large photographs.
        covisibility_clustering: Localize against each group of retrieved images that share points.
        prepend_camera_name: Write the folder of a query before its name.
    """
    options = LocalizeOptions(
        image_root=image_dir,
        depth_maps=depth_maps,
        depth_unit=depth_unit,
        retrieval_pairs=retrieval,
        num_loc=num_loc,
        clustering=covisibility_clustering,
        hloc_features=features,
        hloc_matches=matches,
        ransac_thresh=ransac_thresh,
        # The server counts a missing query as wrong, and all queries show the place: a guess costs nothing.
        min_confidence=0.0,
        failed="nearest",
        result_names="parent" if prepend_camera_name else "base",
    )
    num_listed = len(read_query_list(queries))  # a mistake in the list is said before the map is opened
    print(localize(reference_sfm, queries, results, options, predictor, run, Terminal()))
    num_written = len(results.read_text(encoding="utf-8").splitlines())
    print(f"lines               {num_written} of {num_listed} queries")
