"""What a configuration may have built: an exact list of classes, and what of them it may set.

A configuration is data, perhaps a stranger's. A class stands here only if none of its arguments
names code or a module, and if those that name files stay in the run's folder. So there is none that
loads or saves images, takes a function, a reader or a writer by its name, or reads a settings file.
A class of your own, in `lnq`, needs its line here.
"""

from __future__ import annotations

from collections.abc import Mapping

OURS = frozenset(
    f"lnq.{name}"
    for name in (
        # Networks, methods, and what they see: numbers and words.
        "networks.DualBranchVNet", "networks.VNet",
        "methods.DBDMP", "methods.Genesis",
        "inference.post_processing.PostProcessing", "inference.sliding_window.SlidingWindow",
        # Data: they read the dataset and the store that the user names, and write nothing else.
        *(f"data.datasets.{layout}Layout" for layout in
          ("Lnq2023", "Nnunet", "Pairs", "Phantom", "Scans", "Tcia")),
        *(f"data.phantom.{policy}" for policy in ("LargestNodes", "RandomNodes", "VolumeShare")),
        "data.preparation.preprocessing.Preprocessing", "data.patches.datamodule.PatchDataModule",
        "data.patches.known.KnownBackground", "data.patches.pasting.NodePasting",
        "data.patches.augmentation.MonaiIntensity",
        *(f"data.patches.corruption.{part}" for part in
          ("GenesisCorruption", "RandomBezierIntensity", "RandomInPainting", "RandomLocalShuffling",
           "RandomOutPainting")),
        # Beside the training step; their files lie in the run's folder (FOLDERS).
        *(f"callbacks.{callback}" for callback in
          ("Panels", "Performance", "PolynomialLR", "RampUp", "ReportToTrial",
           "TrainingProgress", "CurvesLogger", "OfflineFirstWandbLogger", "TensorBoardCurves")),
        # Sweeps: lists of overrides, each job of which is checked as a command line is.
        *(f"config.sweeps.{strategy}" for strategy in
          ("GridSearch", "OneAtATime", "Points", "Study")),
    )
)  # fmt: skip

LIBRARIES = frozenset({
    # Optimisers of all parameters: numbers and flags.
    *(f"torch.optim.{name}" for name in
      ("SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop")),
    # Transforms of intensities: numbers, flags, words for a kind of interpolation.
    *(f"monai.transforms.Rand{name}" for name in
      ("AdjustContrast", "BiasField", "CoarseDropout", "CoarseShuffle", "GaussianNoise",
       "GaussianSharpen", "GaussianSmooth", "GibbsNoise", "HistogramShift", "KSpaceSpikeNoise",
       "RicianNoise", "ScaleIntensity", "ScaleIntensityFixedMean", "ShiftIntensity",
       "SimulateLowResolution", "StdShiftIntensity")),
    # Transforms of subjects in memory, and what composes them: the same.
    *(f"torchio.{name}" for name in
      ("Compose", "OneOf", "RandomAffine", "RandomAnisotropy", "RandomBiasField", "RandomBlur",
       "RandomElasticDeformation", "RandomFlip", "RandomGamma", "RandomGhosting", "RandomMotion",
       "RandomNoise", "RandomSpike", "RandomSwap")),
    # The trainer, whose strategies, precisions and accelerators are words of Lightning's; the
    # callbacks and profilers of its that keep to numbers and the run's folder.
    "pytorch_lightning.Trainer",
    *(f"pytorch_lightning.callbacks.{name}" for name in
      ("DeviceStatsMonitor", "EarlyStopping", "LearningRateMonitor", "ModelCheckpoint")),
    *(f"pytorch_lightning.profilers.{name}" for name in ("AdvancedProfiler", "SimpleProfiler")),
})  # fmt: skip

BUILDABLE = OURS | LIBRARIES

WITHHELD: Mapping[str, frozenset[str]] = {
    # Where else to write; a registry on the network; a mode that turns our callbacks off.
    "pytorch_lightning.Trainer": frozenset({"default_root_dir", "model_registry", "barebones"}),
}
"""Arguments that a configuration may not give, by class."""

FOLDERS: Mapping[str, tuple[str, str | None]] = {
    "lnq.callbacks.CurvesLogger": ("folder", None),
    "lnq.callbacks.OfflineFirstWandbLogger": ("save_dir", None),
    "lnq.callbacks.TensorBoardCurves": ("folder", None),
    "pytorch_lightning.callbacks.ModelCheckpoint": ("dirpath", "filename"),
    "pytorch_lightning.profilers.AdvancedProfiler": ("dirpath", "filename"),
    "pytorch_lightning.profilers.SimpleProfiler": ("dirpath", "filename"),
}
"""Arguments that name a folder, and a file in it, which must lie in the run's folder."""
