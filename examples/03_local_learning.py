"""Train the same small network by backpropagation and by two local rules, and bring each to Loihi 2's arithmetic.

    python examples/03_local_learning.py

Takes about half a minute. A rule is also a table of traces and products: what a chip's learning engine could compute.
"""

import neurodeploy
from neurodeploy.learning import eprop, training


def main() -> None:
    print(f"e-prop, as a table: {eprop.LIF_RULE.pre | eprop.LIF_RULE.synapse}, dw = {eprop.LIF_RULE.weight}")
    for rule in ("bptt", "eprop", "decolle"):
        outcome = training.train(training.settings(rule, "digits", arch="48", epochs=12))
        model = neurodeploy.compile(outcome.network, "loihi2-sim", calibration="digits")
        samples = neurodeploy.read_data("digits", model.program.encoding, model.program.input.shape)
        model, certificate = neurodeploy.verify(model, samples, against="source")
        accuracy = neurodeploy.evaluate(model, samples, neurodeploy.run(model, samples)).accuracy
        print(
            f"{rule:8} {outcome.test_accuracy:.1%} in PyTorch, {accuracy:.1%} in Loihi's integers, "
            f"every difference explained by rounding: {certificate['explained_by_rounding']}"
        )


if __name__ == "__main__":
    main()
