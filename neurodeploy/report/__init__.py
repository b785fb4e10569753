"""The report: everything an artefact says and does, measured once as plain values, then drawn as a page or as text."""
