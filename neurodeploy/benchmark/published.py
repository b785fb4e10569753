"""The numbers of arXiv 2402.01782 (v2, 2025-06-30), in percent, as printed there. Ours never go in here.

Networks: N-MNIST 120-84, DVS Gesture 512, TIMIT 400; five runs averaged.
"""

ARCHS = ("ff", "rec")
RULES = ("bptt", "eprop", "decolle")

ACCURACY: dict[str, dict[str, tuple[float, float]]] = {
    "nmnist": {"bptt": (97.12, 97.77), "eprop": (96.44, 96.80), "decolle": (93.61, 90.52)},
    "dvs-gesture": {"bptt": (87.73, 89.23), "eprop": (86.15, 87.20), "decolle": (84.16, 85.17)},
    "timit": {"bptt": (52.31, 56.93), "eprop": (51.12, 54.99), "decolle": (42.30, 45.70)},
}
"""Table III: dataset -> rule -> (FF, REC)."""

EPSILONS = (0.001, 0.005, 0.01, 0.02, 0.05)
FGSM: dict[tuple[str, str], tuple[float, ...]] = {
    ("bptt", "ff"): (83.82, 16.78, 4.34, 1.22, 0.73),
    ("eprop", "ff"): (89.90, 41.27, 12.33, 3.27, 2.87),
    ("decolle", "ff"): (83.48, 45.11, 28.57, 21.29, 17.79),
    ("bptt", "rec"): (94.66, 80.76, 58.73, 27.69, 18.55),
    ("eprop", "rec"): (93.04, 78.28, 60.57, 35.07, 18.25),
    ("decolle", "rec"): (86.76, 84.14, 72.81, 47.56, 23.75),
}
"""Table IV: (rule, arch) -> accuracy per epsilon, N-MNIST."""

POISON_RATES = (0.1, 0.3, 0.5, 0.7, 0.9)
BACKDOOR: dict[tuple[str, str], tuple[tuple[float, float], ...]] = {
    ("bptt", "ff"): ((96.23, 4.80), (93.34, 33.54), (91.62, 43.76), (89.64, 66.06), (87.47, 78.19)),
    ("eprop", "ff"): ((96.85, 1.93), (93.46, 33.35), (92.30, 46.94), (89.38, 75.09), (87.32, 96.95)),
    ("decolle", "ff"): ((92.74, 4.66), (89.88, 30.04), (88.14, 48.31), (85.12, 76.77), (83.62, 90.80)),
    ("bptt", "rec"): ((96.43, 2.64), (94.19, 22.03), (92.24, 43.78), (91.22, 62.24), (87.38, 90.73)),
    ("eprop", "rec"): ((96.69, 0.45), (94.81, 17.65), (91.92, 44.56), (88.51, 74.15), (87.23, 93.15)),
    ("decolle", "rec"): ((90.21, 0.86), (87.46, 23.75), (81.55, 74.10), (81.29, 88.96), (80.81, 91.02)),
}
"""Table V: (rule, arch) -> (accuracy, attack success rate) per poison rate, N-MNIST."""

CONVOLUTIONAL: dict[str, tuple[float, float]] = {"bptt": (91.74, 93.04), "decolle": (90.15, 91.28)}
"""Table VI: rule -> (FF, REC), DVS Gesture, 64-128-128 maps."""

COMPLEXITY: dict[str, tuple[str, str]] = {
    "bptt": ("O(N_in T)", "O(N_in N_neu T)"),
    "eprop": ("O(N_in N_neu)", "O(N_in N_neu)"),
    "decolle": ("O(1)", "O(N_neu N_ro + N_in N_neu)"),
}
"""Table I: rule -> (space, time)."""
