"""Every code a finding or deviation can carry, explained; `neurodeploy explain CODE` prints the text.

ND0xx reading files and data, ND1xx the network and whether it fits, ND2xx numbers and substitutions, ND3xx backends,
ND4xx verification and use. Codes are never reused.
"""

EXPLANATIONS: dict[str, str] = {
    # ND00x-ND04x: models from files (frontends)
    "ND001": "The file is missing, empty, a directory, or cannot be read or written. Nothing was guessed in its place; "
    "check the path and its permissions, or write the file again.",
    "ND002": "PyTorch cannot read the file: it is cut off, damaged, or of another format. Models are read from files "
    "of neurodeploy.save and torch.save, and from FILE.py:NAME; copy or write the file again.",
    "ND003": "The file holds pickled Python objects, and opening it would run whatever code it names. Write tensors "
    "only, with neurodeploy.save(net, ...) or torch.save(net.state_dict(), ...). If you trust whoever wrote it, pass "
    "--trust-pickle.",
    "ND004": "The file was read, but it holds no model: some other dictionary, a list, a lone tensor. A model is what "
    "neurodeploy.save writes, or a state_dict, alone or under the key state_dict, model_state_dict or model.",
    "ND005": "The Python file does not run, has no such name, or the name makes no torch.nn.Module when it is called "
    "without arguments. Give every argument a default, or write a small function that returns the module. What runs at "
    'import should stand under `if __name__ == "__main__"`.',
    "ND006": "The weights do not fit the module, tensor by tensor, or a class was named without weights and would be "
    "compiled with random ones. Use the class the weights were trained with, with the same sizes. A function that "
    "returns a trained module needs no weights.",
    "ND007": "The call leaves something out or names too much: a module is recorded by running it, which needs "
    "example_shape (one sample's input at one step, no batch and no time axis); FILE.py needs :NAME; a model file "
    "needs no weights beside it.",
    "ND008": "The source network runs on inputs (step, sample, *input shape), in batches of at least one sample, in "
    "float32 or float64. What was given is something else.",
    "ND010": "A compiled model is a directory with a manifest.json, as `neurodeploy compile` writes it. What was "
    "named is something else, or is not there. A model.pt is compiled first; an archive of an artefact is unpacked "
    "first.",
    "ND011": "A file of the artefact is absent or unreadable, or its SHA-256 is not the one the manifest records. "
    "What a certificate says holds for the bytes it was made from, so changed bytes are not run. Compile the model "
    "again.",
    "ND012": "A stored network names a type, field or array this version does not know. neurodeploy files hold a "
    "closed list of types and no pickle; write the file again with neurodeploy.save or `neurodeploy compile`.",
    "ND013": "The module itself failed when it was run on the example; the message is its own, with your file and "
    "line. Give an example as one call of the module takes it: batch axis included, time axis where your loop reads "
    "it.",
    "ND014": "Something between the input and a neuron has no exact counterpart on a chip: an activation function, a "
    "product, a rearranged or partial tensor, a membrane that feeds a layer. Read exactly are linear layers, "
    "convolutions, pools, batch norm, reshapes, dropout (in evaluation mode) and sums of currents. Replace it, or "
    "compute it before the net as part of the encoding.",
    "ND015": "The forward pass reads values of the run back into Python: an `if` on spikes, .item(), .numpy(), "
    "indexing by a computed mask. What the net computes would depend on the data, and recording one run shows only one "
    "way through it. Take early exits, statistics and checks out of forward.",
    "ND016": "The steps of the loop are not wired alike, or a neuron is called more than once or less than once per "
    "step. A network has one wiring for all steps, and each of its neurons has one membrane. Give every place of use "
    "its own neuron, call every layer at every step, and record with at least two steps.",
    "ND017": "A neuron does not get its own state of the step before back, unchanged. On a chip states live in the "
    "neuron's core, where nothing else writes to them. Hand `mem` (and `syn`, `spk`) back as the neuron returned it; "
    "reset before the loop only.",
    "ND018": "A neuron starts from a state that is not zero. Targets start at rest; use zeros or the neuron's "
    "reset_mem().",
    "ND019": "The decision is read from the spike counts of one population over all steps, and the module returns "
    "something else: only membranes, the spikes of some steps, a part or reordering of the neurons, what a layer makes "
    "of the spikes, or several populations. Return the output layer's spikes of every step, stacked, or summed with "
    "one weight for all steps, and decide outside the module.",
    "ND020": "Substitution, refused unless allowed: a bare state_dict names tensors but not how they are wired, so the "
    "wiring is inferred from the order of its keys. It also leaves out reset_delay, which is taken as True, and layers "
    "without parameters. Allow it when the printed wiring is right, or save the module with neurodeploy.save.",
    "ND021": "The wiring cannot be inferred from the state_dict: its layers do not alternate, sizes do not meet, or "
    "some layer is not linear (a kernel's stride and padding are not in the file). Use neurodeploy.save(net, ...), or "
    "name the class: neurodeploy compile net.py:Net --weights FILE.",
    "ND022": "The layer is supported, but not with this setting, which has no exact counterpart: padding by other than "
    "zeros, ceil_mode with a partial window, an average that does not count its padding, batch statistics, a dilated "
    "maximum. The message names the setting and what to use instead.",
    "ND023": "The neuron is supported, but not with this setting: graded_spikes_factor, inhibition, state_quant, a "
    "negative threshold, a surrogate whose forward value is no step function, RSynaptic with reset_delay=False (which "
    "snnTorch 1.0.0 computes wrongly), convolutional recurrence; in SpikingJelly a v_threshold not above v_reset; in "
    "Norse a v_leak other than v_reset; in sinabs MaxSpike, MembraneReset with MultiSpike or with a value, "
    "MembraneSubtract with a value, a bias of the recurrence. The message says what to use instead.",
    "ND024": "The layer is not one that is read exactly. Read are snntorch's Leaky, Synaptic, RLeaky, RSynaptic and "
    "Lapicque, SpikingJelly's IFNode, LIFNode and ParametricLIFNode, Norse's IAF, LIF, LIFRecurrent, their Cells and "
    "LIFBoxCell, sinabs' IAF and LIF, their Squeeze and Recurrent (a subclass of any may compute anything), sinabs' "
    "SumPool2d, and torch.nn's Linear, Conv1d, Conv2d, AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d, BatchNorm1d, "
    "BatchNorm2d, Flatten, Unflatten, Dropout and Identity, as modules or functions.",
    "ND025": "A weight, a parameter or the example holds NaN or infinity, so the network computes nothing. Training "
    "diverged or the file is damaged; go back to an earlier checkpoint.",
    "ND026": "A network reads one input per step: index k of the example's time axis at step k, or the whole example "
    "at every step. This one reads another index, a part, both, or nothing. Prepare the input outside the net.",
    "ND027": "The stored network contradicts itself: shapes that do not meet, arrays of the wrong size, a node that "
    "nothing feeds. The file was changed or written by something else; record the module again with neurodeploy.save.",
    "ND028": "The call to record a module makes no sense: net is no torch.nn.Module, the example has no batch axis, or "
    "dt is no positive number of seconds (or contradicts the one the model was saved with). dt may be left out; it is "
    "never invented.",
    "ND029": "The forward pass writes to a weight or to a parameter of a neuron, for instance to adapt a threshold. "
    "A recording holds one value of each, so the network would be another one. Keep parameters constant while the "
    "network runs.",
    # ND030-ND043: NIR graphs
    "ND030": "The file cannot be read as HDF5: it is cut off, damaged, or of another format. The HDF5 library reads "
    "it in a process of its own, because a damaged file can crash that library or keep it busy for ever. Write or "
    "download the file again.",
    "ND031": "NIR graphs and lava-dl's .net files are HDF5 files, which h5py reads, and it is not installed: pip "
    "install h5py, or the extra nir or lava-dl.",
    "ND032": "The file is HDF5 and holds neither lava-dl's layers nor a NIR graph: a NIRGraph with nodes and edges in "
    "the group `node`, as nir.write writes it. A single node is wrapped with nir.NIRGraph.from_list.",
    "ND033": "The file, or a node in it, declares more values than its bytes can hold or than any network here has: "
    "more than 512 MiB of arrays, 2^24 values in a node, 100,000 groups, 32 graphs inside each other, 10,000 chains "
    "of maps. Nothing of that size was read.",
    "ND034": "A node of a NIR graph lacks a field without which it means nothing, or the field holds something else "
    "than it should. The message names both. Write the file again with it.",
    "ND035": "The wiring of a NIR graph has no reading, or more than one: edges that name what is not there, nodes "
    "that nothing feeds, several inputs or outputs, a loop without a neuron, a branch that leads both on and back. "
    "One missing edge between the only two ends, or one misspelled name, is repaired; the rest is for its author to "
    "say.",
    "ND036": "Shapes in a NIR graph do not meet. Where the sizes agree, values are taken in C order, and one number "
    "stands for all; here the sizes differ, or there is more than one way to fit them.",
    "ND037": "Recorded, always: something in the NIR file is wrong and has one possible meaning, which was taken. "
    "`neurodeploy inspect FILE --repair` lists the repairs alone.",
    "ND038": "NIR states differential equations in time and not how long a step is. It is never invented: state it "
    "with --dt SECONDS. It is known of writers that leave it in their numbers: snnTorch and SpikingJelly (R = tau / "
    "dt with 1e-4 s), Rockpool (R = tau / dt exp(-dt / tau)), and sinabs, Norse and Spyx (R = 1 for integrators, time "
    "in steps).",
    "ND039": "A time constant is not positive, or shorter than a step, where Euler's method would overshoot and turn "
    "the sign of the state at every step. State a shorter step with --dt, or --semantics discretization=exponential.",
    "ND040": "Recorded, always: NIR leaves something open, and it was read as stated here: as a recognized writer is "
    "known to mean it, or by the default. --semantics NAME=VALUE states another reading: discretization (euler, "
    "exponential), gain (equation, unit, decayed, membrane), reset (zero, zero_next_step, subtract, "
    "subtract_next_step, subtract_at_once, none), firing (above, reached, multiple), floor (none, minus_threshold, or "
    "a number), current (same_step, step_before), start (zero, leak, reset). neurodeploy/ir/nodes.py and "
    "frontends/nir_semantics.py say what each means; `neurodeploy infer-semantics` compares them on data.",
    "ND041": "A type that NIR 1.0.8 does not have; or the output adds up several nodes, or is no population: a "
    "decision is the largest count of spikes or, where the output is LI, CubaLI or I, the largest sum of a membrane.",
    "ND042": "The node is supported, but not with this setting: a reset to a voltage where the neuron does not start, "
    "a threshold below the reset, a delay of more than one step, padding that differs from side to side. The message "
    "says which and what to use instead.",
    "ND043": "The settings of --semantics are discretization, gain, reset, firing, floor, current and start, each with "
    "the values that `neurodeploy explain ND040` lists; reset=subtract, snnTorch's undelayed one, is of neurons that "
    "fire once and above their threshold. They are for NIR graphs only; other models say what they compute.",
    "ND044": "What --semantics FILE.json names is what `neurodeploy infer-semantics` writes with -o, for this very NIR "
    "file: its SHA-256 is compared. Infer them again, or state settings one by one.",
    # ND045-ND049: lava-dl's .net files
    "ND045": "The HDF5 file is not what lava-dl's export_hdf5 writes: numbered layers with arrays of whole numbers in "
    "the file itself. Export the network again.",
    "ND046": "A block, a neuron or a field of the .net file has no exact counterpart here. Read are blocks of type "
    "input, conv, pool, flatten, dense, dense_rec and, in the end, average with CUBA neurons that refract for one step "
    "and send spikes without a value, or with rectified sigma-delta neurons from the Input block on, without "
    "recurrence or delays. netx reads resonate-and-fire neurons too, and passes over what it does not know.",
    "ND047": "The layers of the .net file do not fit each other, or their arrays do not fit the shape that they say "
    "they have; or the file does not say what the network reads, which --example-shape can say for it.",
    "ND048": "Substitution, refused unless allowed: a layer has weights of both signs, and some of them lie below -256 "
    "or above 254, the range of eight bits on Loihi. netx prints a warning and clips them. Allow it if netx's network "
    "is the one you want, or train with weights in this range.",
    "ND049": "In SLAYER a neuron's spikes wait for its delay. netx lets what the neuron reads wait instead, which is "
    "the same but for neurons with biases or recurrence, and leaves delays of convolutions out. Where the two differ, "
    "and in the last layer, whose spikes are counted when they are fired, delays are refused. Train that layer with "
    "delay=False.",
    # ND05x-ND06x: data
    "ND050": "A dataset, split, limit or encoding was asked for that does not exist or cannot be: the message names "
    "what there is. An intensity lies in [0, 1]; only the delta encoding has a threshold; rows and delta take one step "
    "per row of the image. Recordings, which are over time already, take frames, those of events also counts; images "
    "take all the others.",
    "ND051": "The files of a dataset were not found. Data are looked for below NEURODEPLOY_DATA, or in ../shared/data, "
    "in the folders that their publisher, torchvision and tonic use; the message lists every place. Nothing is "
    "downloaded unasked: neurodeploy.datasets.download(NAME) does it where the licence allows, else the message says "
    "where to get them.",
    "ND052": "A data file is damaged or not what its name says: cut off, of another shape or coding, with labels or "
    "events that cannot be, or simulated where recordings belong. Fetch the file again; a damaged cache is deleted and "
    "built again.",
    "ND053": "The data file cannot be read as .npz without pickle: it is absent, damaged, a lone array, or holds "
    "objects. Write it with numpy.savez(path, inputs=..., labels=...), arrays of numbers.",
    "ND054": "An array of the data file does not fit. `inputs` has axes (step, sample, *neuron), none of them empty, "
    "and finite numbers; `labels`, if present, holds one class number from 0 per sample. The message lists every "
    "fault.",
    "ND055": "The encoding stored with a model has a field that is unknown, absent or out of its range, so how its "
    "samples become input is not known. Save the model again.",
    "ND056": "A package that reads this one dataset is not installed: pillow for the pictures of CIFAR-10's subset, "
    "tonic and aedat for event cameras, h5py for SHD. The message has the command.",
    "ND057": "What was computed from data (simulated events, features of sound, unpacked recordings) is kept on disk, "
    "and the folder cannot be written. Set NEURODEPLOY_CACHE to a folder with room, about 25 kB per simulated "
    "recording.",
    "ND058": "No download of this dataset is offered: its licence does not allow it or states nothing, or there is no "
    "published checksum to hold a download against. The message says where to get it.",
    "ND059": "A download failed, or the file that arrived is not the published one: its size or checksum differs. "
    "Nothing of it was kept. Try again, or fetch the file yourself and put it where the message says.",
    # ND07x: learning
    "ND070": "Learning rules here are stated for chains: one weighted map (all-to-all or convolution, with pools and "
    "reshapes around it) into each population, whose neurons may be recurrent among themselves. This network branches, "
    "skips or has another kind of map. Train it in PyTorch and record it with neurodeploy.save.",
    "ND071": "An architecture is written layer by layer: 128 (neurons), 128r (recurrent), 12C5 (12 maps of 5 x 5 "
    "kernels), 12C5r (reading themselves), 12C5/2 (stride 2), 12C5/1:0 (no padding), P2 (average pool), joined by a "
    "minus sign; or named ff, rec, conv, conv-rec or feedback. This one cannot be read, or does not fit the data's "
    "shape.",
    "ND072": "e-prop filters each synapse's eligibility in time, and a kernel is one synapse at many places, each with "
    "an eligibility of its own. No published rule shares it. Use DECOLLE for convolutions, or e-prop with all-to-all "
    "layers.",
    "ND073": "A three-factor rule keeps one trace per input, which all neurons of the layer read; that is the same as "
    "the exact gradient only if they decay alike. Use one beta and one alpha per layer.",
    "ND074": "There is no learning rule of this name. `neurodeploy train --help` lists them.",
    "ND075": "An option of the training run has no such name or value. `neurodeploy train --help` lists the run's own; "
    "those of a rule are the fields of its Options, in the file of the rule.",
    "ND076": "A training run writes a checkpoint after every epoch, next to the model it will write, and goes on from "
    "it when started again with the same settings. The one that lies there is damaged or belongs to another run, and "
    "is not overwritten unasked: --restart begins anew, -o writes elsewhere.",
    "ND077": "PyTorch has no CUDA device on this machine, or is a build without CUDA. Train on the CPU, or install a "
    "CUDA build of PyTorch.",
    "ND080": "SPIDE and IDE learn rings: spiking layers in a row, pools between them spiking too, feedback from the "
    "last hidden layer to the first or none, and one all-to-all classifier, all with the threshold, quantum, leak and "
    "normalization of the options. The network is another. Build it with learning.spide.architecture and keep the "
    "options it was built with.",
    "ND081": "The ring that --arch describes cannot be built: only the last hidden layer feeds back, and only to the "
    "first; between layers of maps the first one's height and width are the last one's times a whole number; "
    "recurrence (100r) is not part of a ring.",
    "ND082": "An option of SPIDE or IDE is out of its range, or normalizes another number of channels than the input "
    "has. The message names it. leak lies in (0, 1], dropout and momentum in [0, 1), the threshold in (0, quantum]; "
    "rates, scales, steps and standard deviations are positive.",
    "ND083": "IDE found no solution of the implicit equation: the feedback amplifies errors instead of damping them, "
    "so the equilibrium is not stable and has no gradient. Lower the restriction on the feedback weights or the "
    "learning rate, or take solver=broyden, which needs no contraction.",
    "ND084": "Rounding, always recorded: the classifier of SPIDE and IDE reads firing rates in real numbers, and the "
    "network that is deployed counts output spikes instead. Scale and common shift of the classes are chosen on the "
    "training samples seen last; the bound is the fraction of them whose decision the counting does not settle.",
    "ND078": "Memory and time of a rule are measured in a process of its own, and that process ended without a result: "
    "it ran out of memory, or the script that started it runs everything at import. Put the script's work under `if "
    '__name__ == "__main__"`.',
    "ND085": "Unsupervised STDP is competition between the neurons of one hidden layer that all read the whole input; "
    "the output only counts their votes, or learns from reward what they stand for. Give the number of hidden neurons "
    "alone, without recurrence: --arch 150 for instance.",
    "ND086": "An option of STDP or of reward-modulated STDP is out of its range or unknown. The message names it and "
    "says what it may be.",
    "ND087": "An option of ANN-to-SNN conversion is out of its range, or the method has another name. The message "
    "names it and says what it may be.",
    "ND088": "Conversion lets the rate of a spiking neuron stand for an activation of a ReLU network. Recurrent "
    "layers, maximum pools over spikes and scales behind a layer do not mean the same for both. Use all-to-all layers, "
    "convolutions and average pools.",
    "ND089": "A network is converted with the largest activations and logits of its training data, and nothing was "
    "trained yet. Train at least one batch first.",
    # ND09x: the benchmark
    "ND090": "A benchmark grid is a TOML file with [[study]] tables and perhaps a [cost] table, whose keys are the "
    "fields of Study and Cost in neurodeploy/benchmark/grid.py. This file is absent, no TOML, or has other keys or "
    "values of another type.",
    "ND091": "The grid names a rule, dataset or experiment that does not exist, a number out of its range, or a rule "
    "whose cost cannot be measured; or options were given beside a grid, which says all of it itself. Nothing was "
    "started.",
    "ND092": "With --scheduler the jobs go to a Dask cluster. Dask is not installed here, or no scheduler answers at "
    "that address. Install neurodeploy[cluster] and start `dask scheduler` and `dask worker`, or leave it out.",
    # ND1xx: the network, and whether it fits
    "ND107": "Part of the network does not fit a single core: even its smallest slice (one neuron, or one image row of "
    "all channels) needs more neurons, synaptic memory or axons than the profile gives a core. The message has both "
    "numbers and the profile's key. Reduce the fan-in, use a convolution whose kernel is shared, or prune weights.",
    "ND108": "The placed network takes more cores than the largest board of the profile has, or more chips where their "
    "cores share memory. The table beside the error shows what each core is full of. Make the network smaller, or "
    "compile for a profile of a larger board.",
    "ND109": "All cores of a chip share its memory, and one core alone would need more than that: the synapses of its "
    "cells do not fit. The table beside the error shows every core. Make the layer before it smaller, or sparse.",
    "ND110": "An edge of the network names a node that does not exist. A network is a closed graph, so that no layer "
    "can be lost on the way; one read by neurodeploy never has this, so it comes from a graph built or edited by "
    "hand.",
    "ND111": "The network has a loop in which no connection waits a step, so no step could be computed: each node "
    "would need its own output first. Let recurrent connections read the spikes of the step before, as snnTorch's do.",
    "ND120": "A target is a hardware profile: one of the names `neurodeploy targets` lists, or the path of a .toml "
    "file of your own in the same schema. There is none of this name.",
    "ND121": "The compiler or the energy estimate needs a number that the profile does not hold, not even as an "
    "assumption. No number is made up in its place. Add it to the profile with its unit, status and source.",
    "ND122": "The hardware profile is not a TOML file; the message names the line that cannot be read.",
    "ND123": "A datum of the hardware profile breaks the schema. Each has a value (or is unpublished, with an "
    "assumption), a unit if it is a number, a status that says how it is known, and a source cited in [sources]; meta "
    "names the hardware and, if it is a target, its backend; energy models price events that are counted.",
    "ND124": "A profile may extend another, which may extend another, and somewhere there must be a first.",
    "ND125": "The profile holds numbers of hardware and names no backend that compiles for it. What is executed here "
    "has a target of its own: loihi2-sim is Loihi 2 as Lava computes it.",
    "ND130": "Max pooling over spikes is a logical or, which one memoryless neuron per window computes exactly. Over "
    "currents it compares values that spikes do not carry, and it is not linear, so no synapses can say it. Pool after "
    "the neurons instead of before, or train with AvgPool2d.",
    "ND131": "Lapicque divides its input by a capacitance, which is folded into the weights. A convolution shares one "
    "kernel between all positions, so it cannot scale each neuron differently. Use one beta for the whole layer.",
    "ND132": "Between two populations there is one set of synapses, and a delay of one step in front of it at most. A "
    "path that waits longer cannot be said, nor one that waits behind a map with a bias: the bias would arrive a step "
    "too early. Let the edge that leaves the population or the input wait.",
    "ND139": "A neuron adds its bias to its synaptic current or to its membrane, and this one has biases of both kinds "
    "(a layer's is part of the current, lava-dl's norm and NIR's v_leak add to the membrane). Train with biases in the "
    "layers alone.",
    "ND140": "Loihi's threshold is an unsigned 17-bit number, and a neuron whose threshold is zero or below fires at "
    "rest in every step. Train with a positive threshold.",
    "ND141": "Each step a state keeps the fraction (4096 - decay) / 4096 of itself, with a 12-bit decay: from none to "
    "all, never more and never with the sign turned. Clamp beta and alpha to [0, 1] when training, as snnTorch itself "
    "does.",
    "ND142": "Every projection of Loihi takes one step. When one path into a layer has more spiking layers than "
    "another, the spikes of one input meet those of another moment, and the network computes something else. Give the "
    "paths equally many spiking layers; recurrence within one layer is always possible.",
    "ND143": "Lava's Conv process has two spatial axes; Conv1d is run with one of them of length 1. Conv3d has no "
    "place.",
    "ND144": "An ALIF neuron raises its threshold with every spike, which takes a state of its own beside current and "
    "membrane. The neurons this backend has keep a fixed threshold, so the network would be another one. Train with "
    "LIF neurons.",
    "ND145": "Lava's learning engine adds products of one presynaptic trace and factors that the neuron sends. A rule "
    "that asks for more, such as a variable per synapse that follows the membrane, has no place there.",
    "ND146": "What learns on the target is a chain: populations without a synaptic current or an adaptive threshold, "
    "each fed by all-to-all synapses from the one before and perhaps by itself. eprop and decolle take binary spikes; "
    "spide takes values from zero up, neurons that reset by subtraction, and feedback within a single hidden layer "
    "only; stdp and rstdp take features that inhibit each other and one output that counts them, as training by stdp "
    "gives. The message says what in this network is not so, and why it matters.",
    "ND147": "The rule needs a factor that each neuron sends to its synapses, and the target's learning engine has "
    "none: `learning.factors` of its profile says how many factors it multiplies. Loihi 1 has two, Loihi 2 three. "
    "On SpiNNaker2, which is planned only, nothing learns.",
    "ND148": "Neurons that fire several times in a step send graded spikes, whose payload says how often, sigma-delta "
    "neurons changes of a value, and the spikes of Loihi 1 carry no number. Compile for Loihi 2, or read the network "
    "with neurons that fire once (--semantics firing=above).",
    "ND149": "What a membrane that is sent as a value, or in changes, weighs is known once its population has its "
    "numbers, and here one of those before it, or itself, reads it a step late. Let neurons that fire feed back.",
    "ND150": "Spikes are all that enters a SpiNNaker machine, and no packet of theirs carries a value. Compile with an "
    "encoding of spikes, --encoding rate --steps T for instance, and evaluate what that costs; or train with one, as a "
    "network must be that reads an image row by row, or recordings.",
    "ND151": "A PyNN cell rests at 0 mV. With a threshold of zero or below it fires without input and never stops. "
    "Train with a positive threshold.",
    "ND152": "PyNN is told time constants, -dt / ln(beta) and -dt / ln(alpha), which are finite and positive for a "
    "fraction of at least 0 and below 1. A state that keeps everything has none; train with .999, say.",
    "ND153": "PyNN's cells set the membrane to a voltage when they spike, at once or for one step more; NEST and "
    "Brian2 also subtract the threshold in the next step. No cell resets otherwise (not at all, or by subtraction in "
    "the very step).",
    "ND154": "On PyNN's simulators a network learns by e-prop as NEST's own models do: one hidden layer of neurons "
    "that subtract their threshold in the step after a spike, without synaptic current, fed all-to-all by spikes and "
    "perhaps by itself, though no neuron by itself, and one output. The message says what in this network is not so.",
    "ND155": "Nothing that NEST, Brian2 or sPyNNaker offer through PyNN learns by this rule, or not the one named with "
    "--on; the findings name every part that is missing. The host could compute those parts between steps, but then "
    "the host would learn, not the target. Lava's simulator of Loihi 2 learns by them; models of one's own, compiled "
    "into NEST, are beyond what this tool generates.",
    "ND156": "On PyNN's simulators features learn by additive pair STDP: neurons without a synaptic current that a "
    "spike resets to zero, as NEST's STDP needs them, fed all-to-all by spikes and by themselves, and one output, no "
    "biases. Train a recurrent layer, compile it with --allow ND235 and learn with --initial random, which puts random "
    "excitatory weights and inhibition in place of what was trained. PyNN keeps weights that learn within 0 and w_max.",
    "ND157": "Packets of a SpiNNaker machine carry no value, so that a neuron cannot fire several times in a step or "
    "send changes of a value, and no PyNN cell has a floor under its membrane or a bias beside a synaptic current. "
    "Compile for Loihi 2, which has all of them.",
    "ND160": "Listed, always: NIR has no word for it, so the exported file's metadata says it: how long a step is and "
    "how equations become steps, a reset other than v to v_reset at once, firing at the threshold or several times a "
    "step, a floor, what enters and how it is encoded, how a decision is made. neurodeploy reads it back; another "
    "tool reads what NIR's equations say.",
    "ND161": "No NIR graph computes this: NIR's neurons have one fixed threshold and states that decay, none sends "
    "changes of a value, every node is fed by the input, and it has no maximum. What has no node is multiplied out "
    "into one matrix, up to 2^24 weights; NIR cannot give flat values axes again, so what follows is multiplied out "
    "too. A file holds up to 512 MiB of arrays, as much as is read back.",
    "ND162": "Listed, always: exported in another form that computes the same. nir 1.0.8 checks shapes as if each "
    "Conv2d had one group and a square kernel, so groups and other kernels are spelled out in zeros; maps that NIR "
    "lacks are matrices, maxima over spikes logical ors, delays outside loops nodes of type Delay. The metadata holds "
    "what was.",
    "ND163": "Recorded, always: the NIR file holds metadata of neurodeploy's export. Where its SHA-256 fits the "
    "graph, the network is what it says, bit for bit, with the weights that are in the graph. Where the graph was "
    "changed otherwise, or settings were stated with --semantics, the metadata is left out and the graph is read as "
    "anybody's.",
    "ND164": "Rounding, listed: NIR has time constants and resistances, and beta, alpha or the gain computed from "
    "these differs in the last bits. The metadata holds the numbers themselves; the bound is what another reader is "
    "off by.",
    "ND175": "`-o` of `neurodeploy save` or `export` names the file that the model or its weights are read from, which "
    "would be replaced. Nothing was written.",
    # ND2xx: numbers and substitutions
    "ND201": "Rounding, always recorded: a weight becomes twice an 8-bit signed mantissa times a power of two, one "
    "scale per population. The bound is the largest difference of any weight of the map. Loihi's mixed-sign weights "
    "have no low bit, hence the factor two.",
    "ND202": "Rounding, always recorded: beta and alpha become 12-bit decays, so a state keeps a multiple of 1/4096 of "
    "itself per step. The bound is the largest difference of any neuron.",
    "ND203": "Rounding, always recorded: the threshold becomes a 17-bit integer in the population's units. The scale "
    "is chosen so that a single threshold is met to the unit; thresholds per neuron are each off by half a unit at "
    "most.",
    "ND204": "Rounding, always recorded: a bias becomes a 13-bit mantissa and an exponent of 3 bits shared by the "
    "population. The bound is the largest difference of any neuron.",
    "ND205": "Rounding, always recorded: real input values become integer payloads of graded spikes. Values that lie "
    "on a grid of few levels, as pixels do, are met exactly and nothing is recorded; others are off by half a level "
    "at most.",
    "ND206": "Rounding, always recorded: the 24-bit states drop what is below their unit each time they decay, towards "
    "zero. The bound is that unit, per step.",
    "ND207": "Rounding, always recorded: a map whose weights are too fine for the population's scale has its sums "
    "shifted right, which rounds down. The bound is one unit per step. A smaller spread between the weights of the "
    "maps that feed one population avoids it.",
    "ND210": "Loihi's membrane is a 24-bit integer that saturates. The worst case over all inputs would reach that "
    "limit at every scale that keeps weights and threshold fine enough, so it is recorded. Compile with --calibration "
    "DATA: the scale then leaves twice the room of the largest membrane seen on those data. The unit of sigma-delta "
    "neurons is their source's, whose own states are wider: theirs are known to suffice when calibration data fill "
    "half of them at most.",
    "ND211": "The scale of a population must hold its threshold in 17 bits, its bias in 13 + 3, its weights in 8 bits "
    "and an exponent, and its current in 24 bits without ever wrapping. No scale does all of that here, because the "
    "numbers of this layer span too much. Train with weight decay, or clip the largest weights and biases.",
    "ND215": "The source counts in integers, as lava-dl's networks do, and they are kept as they are or refused. Loihi "
    "has no low bit for weights of both signs: they are even, from -256 to 254. Odd ones of at most 127 are stored at "
    "twice their size with a smaller exponent, which Lava's convolution does not have. Thresholds have 17 bits, biases "
    "13, and decays 12: from 0 to 4095 for the membrane, from 1 to 4096 for the current. Lava takes others silently.",
    "ND216": "A neuron that fires several times in a step sends how often as the payload of one graded spike, and all "
    "that a layer receives in a step must fit its current. Payloads are therefore bounded: by whole bits that hold "
    "twice the most spikes of a step on the calibration data, 15 without such data, 255 in any case. What is not sent "
    "stays on the membrane where spikes subtract the threshold. Compile with --calibration DATA.",
    "ND217": "Rounding, always recorded: neurons that only integrate (NIR's LI, CubaLI and I) send their membrane in "
    "every step as a graded spike, of 8 bits and a sign where other neurons read it. The range is twice the largest "
    "membrane of the calibration data, or the worst case; beyond it payloads saturate. An output's are not rounded.",
    "ND220": "The model was compiled for spikes, which are 0 or 1, and the data hold other values. Encode the data "
    "(rate, latency, delta), or compile with --calibration on data of the real kind, which makes the input graded.",
    "ND221": "The data hold values outside the range the model was compiled for, where the 24-bit currents could wrap "
    "around. Compile again with --calibration on data of this range.",
    "ND222": "The example the model was saved with had only values on a coarse grid, sixteenths for instance, and was "
    "compiled to payloads of exactly these levels. The data hold values in between, which would be rounded without a "
    "record. Compile with --calibration on data like these, and the rounding becomes part of the record.",
    "ND223": "Rounding, always recorded: a weight that learns in Lava has eight bits and a sign, a static one loses "
    "the lowest of them. What learning left odd goes down by one unit of 256 when the network is frozen.",
    "ND230": "Rounding, always recorded: SpiNNaker holds weights unsigned in 16 bits, with one power of two for all "
    "excitatory and one for all inhibitory ones of a population. It is the smallest at which all that can arrive in a "
    "step fits into 16 bits too, since sums saturate there. SpiNNaker2 is planned with 8 bits and a sign, one power of "
    "two for all. The bound is the largest change of a weight.",
    "ND231": "Rounding, always recorded: beta becomes a number with 15 bits after the point (s16.15) and alpha one "
    "with 32 (u0.32).",
    "ND232": "Rounding, always recorded: the threshold becomes a number with 15 bits after the point, in mV.",
    "ND233": "Rounding, always recorded: a bias becomes the weights of a source that fires in every step, with 16 bits "
    "like all others.",
    "ND234": "SpiNNaker's membrane is an s16.15 number that ends at 65,536 mV and wraps there, and so is what a step's "
    "current would draw it to if it lasted. The worst case over all inputs would reach that far, and a smaller scale "
    "would leave the threshold too few bits. Train with more leak or smaller weights; what the machine does beyond its "
    "numbers no engine here shows.",
    "ND235": "Substitution, made only where it is allowed: a reset to zero in place of subtracting the threshold, "
    "which no cell of the machine does. NEST and Brian2 need no substitute. Where the user accepts it, the spikes that "
    "differ are counted on calibration data, and every report carries the code.",
    # ND3xx: backends
    # ND300-ND329: Lava
    "ND300": "lava-nc is not installed, or not in the version all claims about it are tested against. It declares "
    "Python < 3.11, so pip needs two extra options: pip install --no-deps --ignore-requires-python lava-nc==0.10.0.",
    "ND301": "neurodeploy lets lava-nc 0.10.0 run on Python 3.11 and later by changing three lines as they are "
    "imported. Here one of these lines reads differently, so this is not the released lava-nc 0.10.0; nothing changed.",
    "ND302": "From NumPy 2.4 on, arrays of one element no longer become scalars, and parts of Lava 0.10.0 hang.",
    "ND303": "Lava's runtime runs in a child process, and that process ended without a result. Its last lines, with "
    "the traceback that Lava itself does not show, are part of the message.",
    "ND304": "Lava's runtime took longer than --timeout allows, or, without one, made no step for two minutes. All it "
    "had started was ended.",
    "ND305": "In Lava each connection takes exactly one step, so a population starts one step after whatever feeds it. "
    "The program's latencies say otherwise, which a compiled program never does.",
    "ND306": "Lava 0.10's Conv stores a weight exponent and does not apply it, so the result would differ silently.",
    "ND307": "The run was called with inputs of another shape than (step, sample, *input), or an unknown executor.",
    # ND310-ND349: SpiNNaker
    "ND310": "A package that runs the program is not installed here: PyNN with NEST or Brian2 (the extra pynn), or "
    "sPyNNaker (the extra spinnaker). `neurodeploy targets` shows what runs on this machine.",
    "ND311": "A simulator of PyNN's runs in a child process, and that process ended without a result. Its last lines "
    "are part of the message.",
    "ND312": "A simulator of PyNN's took longer than --timeout allows, or, without one, made no step for two minutes. "
    "All it had started was ended. Brian2 takes a fixed time per step and layer; NEST takes longer the more spikes "
    "there are.",
    "ND313": "The run was called with inputs of another shape than (step, sample, *input), or an unknown executor; or "
    "populations were to be built for a backend of PyNN's other than NEST and Brian2.",
    "ND314": "NEURODEPLOY_PYNN_PYTHON names the interpreter that PyNN's simulators run in, where they cannot share an "
    "environment with other targets' packages. What it names does not run, or is older than Python 3.11.",
    "ND315": "sPyNNaker mapped what is to learn, with its own STDP, onto a virtual board; the message says on how many "
    "cores. Such a board runs nothing, so no weight changes and nothing is written.",
    "ND330": "No neuron model of sPyNNaker subtracts its threshold when it spikes. Such a network runs on NEST and "
    "Brian2; for the machine train with reset to zero, or accept it in place of subtraction with --allow ND235.",
    "ND331": "No cell of this simulator computes the population exactly. Subtraction of the threshold together with a "
    "synaptic current is in Brian2 only, with a cell of ours; nothing is put in its place silently.",
    "ND332": "A recurrent projection takes one step in the network. In NEST a cell with a synaptic current passes on "
    "what arrives only in the step after, so its loop would take two. Brian2 and the engine take one.",
    "ND340": "sPyNNaker runs in a child process, and that process ended without a plan. Its last lines are part of the "
    "message; `neurodeploy emit --as pynn-script` writes the script that it ran.",
    "ND341": "sPyNNaker took longer than allowed, a quarter of an hour if nothing was said. What it had started "
    "was ended.",
    "ND342": "sPyNNaker says that the network does not fit: too few cores, too little memory, too many entries of a "
    "router, or a row of more than 256 synapses. What it raised is named, with its own words.",
    "ND343": "The configuration of sPyNNaker that was named cannot be read. It is the file that sPyNNaker calls "
    ".spynnaker.cfg and writes as a template into the home folder when it is first used.",
    "ND344": "Spikes come back from a SpiNNaker machine only. Without a configuration that names one, sPyNNaker plans "
    "for a virtual board, which is mapped like a real one and runs nothing: `neurodeploy map` shows that plan. "
    "No test of neurodeploy has run on hardware.",
    "ND345": "Spikes are read back from a SpiNNaker machine, no currents or membranes. NEST and Brian2 record both.",
    # ND350: NeuroBench
    "ND350": "NeuroBench is not installed, or in another version than the one whose harness and definitions are meant. "
    "It declares packages that none of this needs, so pip is told to leave them: pip install --no-deps "
    "neurobench==2.3.0.",
    # ND4xx: verification and use
    "ND400": "Verification failed: the two executors differ, first at the step, population and neuron named. Against "
    "Lava or the reference engine every spike and state must be equal; against the source the difference must be "
    "within what the recorded roundings can explain. The likely cause is a guess from the values around it. The "
    "artefact keeps the certificate; if a fresh compilation differs too, it is our defect, so please report it.",
    "ND401": "There is no executor, authority or backend of this name, or the target has none of the kind. "
    "`neurodeploy targets` shows what runs here.",
    "ND402": "Images become input over time by an encoding, with which the network was trained, so it is never "
    "guessed. The model records none: save it with neurodeploy.save(..., encoding=...), compile it with --steps T "
    "(rate coding for spike input, direct current otherwise), or give data that are encoded already, as .npz.",
    "ND403": "A sample has another number of values per step than the model reads. Data are (step, sample, *neuron), "
    "with the neurons of one step in the model's own order.",
    "ND404": "Verification against the source failed: a weight, threshold, decay, bias or reset of the program is not "
    "the source's own, rounded to the nearest. The program was changed after it was compiled, or the compiler is at "
    "fault. Compile the model again; if that fails too, please report it.",
    "ND405": "Without --data, digits are taken for models that read 64 values and mnist for those that read 784, or 28 "
    "row by row. This one reads something else: say with --data what to run it on.",
    "ND406": "There is no code of this name. Every code that an error or a report shows can be explained.",
    "ND407": "A result could not be written where -o says. Nothing is left there half written.",
    "ND408": "The command line cannot be understood: a verb or option that does not exist, or a value of the wrong "
    "kind. `neurodeploy VERB --help` lists what a verb takes.",
    "ND409": "A compiled model can be written as a program of another tool where the target has one: as a PyNN script "
    "for SpiNNaker. Loihi's is Lava's Processes, which `neurodeploy.backends.loihi2.network` connects.",
    "ND410": "The artefact could not be written: something that is not an artefact is in the way and is not "
    "overwritten, or the place is not writable. Choose another -o.",
    "ND411": "The data and what is recorded of the run do not fit into this machine's memory. Use fewer samples with "
    "--limit, or a shorter encoding with --steps at compile time.",
    "ND412": "A label is no output neuron: labels count from 0 to one less than the outputs. With such labels an "
    "accuracy would be meaningless, so none is given. Renumber the labels of the .npz file.",
    "ND413": "Learning on the target was asked for with a number out of its range, or for a population the model does "
    "not have. `neurodeploy inspect` lists the populations.",
    "ND414": "What is verified here is how a model learns, and this one has no record of having learned on a target. "
    "`neurodeploy learn` writes an artefact that has one.",
    "ND415": "A model made by as_neurobench_model serves one Benchmark. NeuroBench hooks the layers anew for every "
    "Benchmark, so it would count double, and it takes all hooks away when the first Benchmark is gone, after which it "
    "reports zeros. Make a model for each.",
    "ND416": "NeuroBench counts membranes that change, and the simulator that ran the model does not show all of them. "
    "The engine does.",
    "ND417": "NeuroBench's NeuronOperations multiplies updates by a table of operations that has snnTorch's neurons "
    "only. A neuron of a chip is none of them, and NeuroBench writes 0.0 where a metric fails. Leave this one out.",
    "ND420": "A report shows one sample spike by spike, and the data do not have the one that --sample asks for. "
    "Samples are counted from 0, in the order of the data.",
    "ND429": "neurodeploy itself failed: an exception nobody foresaw. It is our defect. NEURODEPLOY_DEBUG=1 in the "
    "environment prints where it happened; please report that together with the command.",
    # ND430-ND449: attacks, backdoors and what representations hold
    "ND430": "An attack needs inputs (step, sample, *neuron), finite and none of the axes empty, with one class number "
    "from 0 per sample. A counterpart without spikes reads frames (sample, *neuron) of the network's input shape, with "
    "labels below its number of outputs.",
    "ND431": "A number given to an attack is not finite or out of its range: epsilon, step and budget are at least 0, "
    "sigma is above 0, samples, iterations and batch are whole numbers from 1, and low is at most high.",
    "ND432": "A function that an attack calls returned something other than agreed: a gradient has the inputs' shape, "
    "a loss and a decision have one value per sample, a perturbed input the shape of the original; all are finite. A "
    "wrong shape would be spread silently over other samples.",
    "ND433": "Only spikes can be flipped, and the inputs hold values other than 0 and 1. Graded input is perturbed "
    "with fgsm or nes.",
    "ND434": "The network has no counterpart without spikes that could be attacked: a node reads nothing, or the input "
    "reaches the output only over recurrent edges, which are left out, so that every gradient would be 0. Raise "
    "recurrent_steps, or take gradients through time from the spiking network itself.",
    "ND435": "The backdoor cannot be planted: the trigger lies outside the input, has no position, or maps a class to "
    "itself; the poison rate is not in [0, 1]; or no sample is of the source class. Draw a trigger for these data.",
    "ND436": "CKA compares features of the same samples, in the same order, in batches of at least 4 (2 when biased). "
    "The unbiased estimate averages over four different samples at a time.",
    "ND437": "CKA divides by how much each side's features vary, and one side's do not: a silent layer, or one that "
    "answers every sample alike. There is no similarity to state, not even 0.",
    "ND438": "Fisher information is measured on batches of inputs (step, sample, *neuron) with gradients per sample, "
    "(sample, *weight), finite, and for the same tensors each time. Something of that is missing, a probability or "
    "label is none, a time lies beyond the inputs, or every gradient is 0, so that no share of the whole exists.",
    "ND439": "A share is hits of n samples with n at least 1. There are none, for instance no test sample of the "
    "backdoor's source class, so it has no value; 0 would be a claim.",
    "ND440": "An attack on images perturbs pixels and encodes them anew, so the pixels have to be known exactly. They "
    "are for currents, which are pixels; for rate and latency coded spikes, from a data set by name. Other encodings, "
    "recordings and input of another origin are perturbed as they are.",
    "ND441": "What attacks do is counted in right decisions, so every sample needs a label, and each label has to be "
    "one of the output neurons, numbered from 0.",
    "ND450": "Every combination of the settings that the NIR graph leaves open was tried, and none makes a network. "
    "The first refusal is the reason given; `neurodeploy inspect` with the settings you know shows all of it.",
    "ND451": "Semantics are inferred from decisions: each reading of the graph is run on the data and judged by how "
    "many it decides rightly. Give data with labels, counted from 0, one per sample.",
}
