"""A paragraph for the methods section of a paper: what a study did, in words, with its sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isogloss.metrics.registry import MEASURES

if TYPE_CHECKING:
    from isogloss.config import TaskSection
    from isogloss.study import FinishedStudy

_SOURCES = {
    "mousi": "Mousi et al. 2024. Exploring Alignment in Shared Cross-lingual Spaces. ACL.",
    "ward": "Ward 1963. Hierarchical Grouping to Optimize an Objective Function. JASA 58.",
    "kmeans": "Lloyd 1982. Least Squares Quantization in PCM. IEEE Trans. Inf. Theory 28. Started as in "
    "Bahmani et al. 2012. Scalable K-Means++. PVLDB 5.",
    "diagonal": "Dyer et al. 2013. A Simple, Fast, and Effective Reparameterization of IBM Model 2. NAACL.",
    "model": "Jalili Sabet et al. 2020. SimAlign. Findings of EMNLP.",
    "eflomal": "Östling and Tiedemann 2016. Efficient Word Alignment with Markov Chain Monte Carlo. PBML 106.",
    "bca": "Efron 1987. Better Bootstrap Confidence Intervals. JASA 82.",
    "fdr": "Benjamini and Hochberg 1995. Controlling the False Discovery Rate. JRSS B 57.",
    "search": "Westfall and Young 1993. Resampling-Based Multiple Testing. Wiley.",
    "simultaneous": "Chernozhukov, Chetverikov and Kato 2013. Gaussian Approximations and Multiplier Bootstrap for "
    "Maxima of Sums of High-Dimensional Random Vectors. Annals of Statistics 41.",
    "ami": "Vinh, Epps and Bailey 2010. Information Theoretic Measures for Clusterings Comparison. JMLR 11.",
    "retrieval_csls": "Conneau et al. 2018. Word Translation Without Parallel Data. ICLR.",
    "retrieval_margin": "Artetxe and Schwenk 2019. Margin-based Parallel Corpus Mining. ACL.",
    "mexa": "Kargaran et al. 2025. MEXA. Findings of ACL.",
    "cka": "Kornblith et al. 2019. Similarity of Neural Network Representations Revisited. ICML.",
    "anc": "Del and Fishel 2022. Cross-lingual Similarity of Multilingual Representations Revisited. AACL.",
    "svcca": "Raghu et al. 2017. SVCCA. NeurIPS.",
    "pwcca": "Morcos et al. 2018. Insights on Representational Similarity. NeurIPS.",
    "rsa": "Kriegeskorte et al. 2008. Representational Similarity Analysis. Front. Syst. Neurosci. 2.",
    "procrustes": "Schönemann 1966. A Generalized Solution of the Orthogonal Procrustes Problem. Psychometrika 31.",
    "mean_cosine": "Ethayarajh 2019. How Contextual are Contextualized Word Representations? EMNLP.",
    "isoscore": "Rudman et al. 2022. IsoScore. Findings of ACL.",
    "conll": "Tjong Kim Sang and De Meulder 2003. Introduction to the CoNLL-2003 Shared Task. CoNLL.",
    "sacrebleu": "Post 2018. A Call for Clarity in Reporting BLEU Scores. WMT.",
    "lora": "Hu et al. 2022. LoRA: Low-Rank Adaptation of Large Language Models. ICLR.",
}
_SCORED = {"ner": "strict entity F1", "sentiment": "accuracy and macro F1", "translation": "BLEU and chrF (sacreBLEU)"}


def methods_paragraph(study: FinishedStudy) -> str:
    """Return a paragraph on how the numbers of a study were made, and the list of its sources, as plain text."""
    config, facts = study.config, study.manifest
    metrics, rules = config.metrics, config.selection
    models = ", ".join(f"{m.name} ({'random weights' if m.weights == 'random' else m.path})" for m in config.models)
    first = config.models[0]
    layers = sorted({clustering.layer for clustering in study.clusterings})
    numbers = " and ".join(str(k) for k in sorted({run[0].n_concepts for run in study.runs}))
    seeds = sorted({run[0].seed for run in study.runs})
    aligner = "given dictionaries" if config.alignment.dictionaries else config.alignment.aligner
    thetas = " and ".join(f"{theta:g}" for theta in metrics.theta_align)
    overlap = " and ".join(f"{theta:g}" for theta in metrics.theta_overlap)
    sentences = [
        f"We used isogloss {facts.get('isogloss', '')} on {facts.get('n_sentences', 0):,} parallel sentences in "
        f"{', '.join(study.languages)} ({facts.get('n_words', 0):,} words). States of {models} were taken at layers "
        f"{', '.join(map(str, layers))}, the {first.pooling} over the subwords of a word; the last layer "
        f"{'after' if first.last_layer == 'normed' else 'before'} the final norm where a model has one.",
        f"Words were linked by {aligner}; the dictionary keeps the {config.dictionary.top} most frequent translations.",
        f"Latent concepts were discovered with {config.discovery.method} clustering (K = {numbers}"
        + (f", seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else "")
        + f"), for CALIGN in each language alone (at most {rules.calign.max_count} tokens of a "
        f"{'linked pair' if rules.calign.by == 'pairs' else 'type'}), for COLAP in languages together (at most "
        f"{rules.colap.max_count} of a {'linked pair' if rules.colap.by == 'pairs' else 'type'}).",
        f"CALIGN and COLAP follow Mousi et al. (2024) with theta_align = {thetas}, theta_overlap = {overlap}, at least "
        f"{metrics.min_types:g} types a concept and a size ratio of at least {metrics.min_size_ratio:g}"
        + (", compared as in their released code" if metrics.strict else "")
        + f". Chance of CALIGN is the higher of two means over {metrics.n_permutations} draws each: "
        + (
            "dictionaries with target words permuted inside frequency bins"
            if metrics.null == "targets"
            else "permutations of concept labels"
        )
        + ", and words of one sentence exchanging their target concepts, so that concepts that are sentences count for "
        "nothing; p-values are the larger of both. Soft CALIGN is the mean best match of eligible concepts, without a "
        "threshold. Chance of COLAP is the multivariate hypergeometric expectation; "
        "adjusted = (score - chance) / (1 - chance).",
    ]
    sources = ["mousi", config.discovery.method]
    if aligner in _SOURCES:
        sources.append(aligner)
    if metrics.n_bootstrap:
        kind = "BCa" if metrics.interval == "bca" else "percentile"
        sentences.append(
            f"Intervals are 95 % {kind} intervals of {metrics.n_bootstrap} bootstrap resamples of sentences, centred "
            "at the score, with concepts held (Efron 1987)."
        )
        sources.append("bca")
    sentences.append(
        "q-values control the false-discovery rate over layers and pairs (Benjamini and Hochberg 1995). A layer is "
        "called above chance where its p-value, corrected by the maximum statistic over all rows of its measure "
        "(Westfall and Young 1993), is below 0.05, and its interval, simultaneous over the same rows (Chernozhukov et "
        "al. 2013), lies above its chance level. We also report COLAP with each language counted in other sentences, "
        "and the adjusted mutual information of concepts and sentences (Vinh et al. 2010)."
    )
    sources += ["fdr", "search", "simultaneous", "ami"]
    measures = config.companions.measures
    if measures:
        named = "; ".join(MEASURES[name].what for name in measures)
        sentences.append(f"Beside them we report {', '.join(measures)} ({named}).")
        sources += [name.removeprefix("word_").removesuffix("_absolute") for name in measures]
    for task in config.tasks:
        sentences.append(_trained(task, base=task.base or first.name))
        sources += {"ner": ["conll"], "translation": ["sacrebleu"]}.get(task.kind, [])
        sources += ["lora"] if task.lora else []
    if config.tasks:
        sentences.append(
            "Fine-tuned models are compared with their base on the same words, dictionary and resamples of sentences."
        )
    listed = [_SOURCES[name] for name in dict.fromkeys(sources) if name in _SOURCES]
    return " ".join(sentences) + "\n\nSources:\n" + "\n".join(f"- {line}" for line in listed) + "\n"


def _trained(task: TaskSection, *, base: str) -> str:
    """Return the sentence on one task."""
    files = task.train.files
    languages = list(files) if isinstance(files, dict) else task.train.languages or ["all languages of its file"]
    seeds = f"{len(task.seeds)} seeds" if len(task.seeds) > 1 else "one seed"
    control = ", and again on shuffled labels as a control" if task.controls else ""
    how = f"with LoRA of rank {task.lora.rank}, " if task.lora else ""
    return (
        f"{base} was fine-tuned on {task.kind} in {', '.join(x for x in languages if x != task.target)} {how}for "
        f"{task.epochs:g} epochs at most (AdamW, peak rate {task.rate:g}, batches of {task.batch_size}, "
        f"{seeds}{control}), "
        f"keeping the best weights of {task.evaluations} evaluations on development data, and scored by "
        f"{_SCORED[task.kind]}."
    )
