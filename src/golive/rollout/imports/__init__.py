"""
What manifests of Argo Rollouts and Flagger say, as the parts of a golive.toml; see docs/import.md.

    files -> manifest.read -> argo.translate | flagger.translate -> Draft -> text

Translating is pure and complete in one sense: whatever is not carried over is named, with its line.
"""
