//! How the next token is chosen.
//!
//! mistral.rs has no seed, leaves `logit_bias` without effect, counts the prompt for its penalties, and
//! reports base-10 logarithms of what is no probability. So one logits processor per sequence chooses
//! here, and leaves mistral.rs, at temperature 0, nothing but the choice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cocoon_engine_api::Sampling;
use mistralrs::{CustomLogitsProcessor, Response, Tensor};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Below this, temperature is 0: greedy.
const GREEDY: f64 = 1e-7;
/// So many of the likeliest tokens are looked at first for nucleus sampling; all of them only where these
/// do not fill it.
const NUCLEUS: usize = 256;

/// A token that was chosen, on its way from the sampler to whoever reads the replies. It travels as the
/// words of a [`Response::Raw`], in the channel of the chunks, so that both come in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chosen {
    /// Tokens of the sequence before it.
    pub(crate) position: u32,
    pub(crate) token: u32,
    pub(crate) logprob: f32,
    /// The likeliest tokens and their log probabilities.
    pub(crate) top: Vec<(u32, f32)>,
}

impl Chosen {
    pub(crate) fn into_response(self) -> Response {
        let mut tokens = vec![self.position, self.token, self.logprob.to_bits()];
        tokens.extend(self.top.iter().flat_map(|(token, logprob)| [*token, logprob.to_bits()]));
        Response::Raw { logits_chunks: Vec::new(), tokens }
    }

    pub(crate) fn from_words(words: &[u32]) -> Option<Self> {
        let [position, token, logprob, top @ ..] = words else { return None };
        Some(Self {
            position: *position,
            token: *token,
            logprob: f32::from_bits(*logprob),
            top: top.chunks_exact(2).map(|pair| (pair[0], f32::from_bits(pair[1]))).collect(),
        })
    }
}

/// Chooses the tokens of one sequence.
pub(crate) struct Sampler {
    reply: mpsc::Sender<Response>,
    rule: Rule,
    state: Mutex<State>,
    /// Given up when mistral.rs drops the sequence, and this with it.
    _turn: OwnedSemaphorePermit,
}

/// What a request says of it.
struct Rule {
    sampling: Sampling,
    /// The request's own, or a random one.
    seed: u64,
    /// Alternatives to report, where log probabilities are wanted.
    logprobs: Option<usize>,
}

/// What the sequence has so far.
#[derive(Default)]
struct State {
    /// Length of the prompt: penalties are for what was generated.
    prompt: Option<usize>,
    /// How often each token was generated.
    counts: HashMap<u32, u32>,
    /// Tokens of the sequence that are in `counts` or the prompt.
    counted: usize,
    /// The distribution at one position, before any constraint.
    distribution: Option<(usize, Distribution)>,
}

#[derive(Clone, Default)]
struct Distribution {
    /// ln Σ exp of the logits.
    normalizer: f32,
    top: Vec<(u32, f32)>,
}

impl Sampler {
    /// As mistral.rs takes it.
    pub(crate) fn processor(
        reply: mpsc::Sender<Response>,
        sampling: Sampling,
        logprobs: Option<u8>,
        turn: OwnedSemaphorePermit,
    ) -> Arc<dyn CustomLogitsProcessor> {
        // The sign bit is as good as any other: every integer is a seed of its own.
        let seed = sampling.seed.map_or_else(random, i64::cast_unsigned);
        let rule = Rule { sampling, seed, logprobs: logprobs.map(usize::from) };
        Arc::new(Self { reply, rule, state: Mutex::default(), _turn: turn })
    }
}

impl CustomLogitsProcessor for Sampler {
    /// May be called twice for one position: where a constraint forbids the first choice, the second call has
    /// the logits of all that is forbidden at −∞.
    ///
    /// Never an error from here: it would end the sequences of other callers as well.
    fn apply(&self, logits: &Tensor, context: &[u32]) -> mistralrs::Result<Tensor> {
        let Ok(raw) = logits.to_vec1::<f32>() else { return Ok(logits.clone()) };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = self.rule.choose(&raw, context, &mut state);
        drop(state);
        // A receiver that is gone is noticed by mistral.rs itself.
        let token = chosen.token as usize;
        let _ = self.reply.try_send(chosen.into_response());
        let mut only = vec![f32::NEG_INFINITY; raw.len()];
        if let Some(logit) = only.get_mut(token) {
            *logit = 0.0;
        }
        Ok(Tensor::from_vec(only, raw.len(), logits.device()).unwrap_or_else(|_| logits.clone()))
    }
}

impl Rule {
    fn choose(&self, raw: &[f32], context: &[u32], state: &mut State) -> Chosen {
        let prompt = *state.prompt.get_or_insert(context.len());
        for token in context.get(state.counted.max(prompt)..).unwrap_or_default() {
            *state.counts.entry(*token).or_default() += 1;
        }
        state.counted = context.len();

        let distribution = self.logprobs.map(|top| {
            let known = state.distribution.take().filter(|(position, _)| *position == context.len());
            let known = known.map_or_else(|| distribution(raw, top), |(_, known)| known);
            state.distribution = Some((context.len(), known.clone()));
            known
        });
        let scores = self.scores(raw, &state.counts);
        let draw = uniform(self.seed, (context.len() - prompt.min(context.len())) as u64);
        let token = choose(&scores, self.sampling.temperature, self.sampling.top_p, draw);
        let Distribution { normalizer, top } = distribution.unwrap_or_default();
        Chosen {
            position: u32::try_from(context.len()).unwrap_or(u32::MAX),
            token: u32::try_from(token).unwrap_or(u32::MAX),
            logprob: raw.get(token).copied().unwrap_or(f32::NEG_INFINITY) - normalizer,
            top,
        }
    }

    /// The logits with bias and penalties. What is not a number is never chosen.
    fn scores(&self, raw: &[f32], counts: &HashMap<u32, u32>) -> Vec<f32> {
        let sampling = &self.sampling;
        let mut scores: Vec<f32> =
            raw.iter().map(|logit| if logit.is_nan() { f32::NEG_INFINITY } else { *logit }).collect();
        let mut add = |token: u32, much: f64| {
            if let Some(score) = scores.get_mut(token as usize) {
                *score += much as f32;
            }
        };
        for (token, bias) in &sampling.logit_bias {
            add(*token, *bias);
        }
        if sampling.presence_penalty != 0.0 || sampling.frequency_penalty != 0.0 {
            for (token, count) in counts {
                add(*token, -sampling.presence_penalty - sampling.frequency_penalty * f64::from(*count));
            }
        }
        scores
    }
}

/// ln Σ exp, and the `top` likeliest tokens with their log probabilities.
fn distribution(raw: &[f32], top: usize) -> Distribution {
    let most = raw.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 =
        raw.iter().filter(|logit| !logit.is_nan()).map(|logit| f64::from((logit - most).exp())).sum();
    let normalizer = most + sum.ln() as f32;
    let top = likeliest(raw, top).into_iter().map(|token| (token as u32, raw[token] - normalizer)).collect();
    Distribution { normalizer, top }
}

/// Where the greatest of `scores` is; of equals the first.
fn greatest(scores: &[f32]) -> usize {
    let mut best = 0;
    for (at, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = at;
        }
    }
    best
}

/// The `count` greatest of `scores`, greatest first; of equals the first.
fn likeliest(scores: &[f32], count: usize) -> Vec<usize> {
    if count == 0 {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..scores.len()).filter(|at| !scores[*at].is_nan()).collect();
    let greater = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
    let count = count.min(order.len());
    if count < order.len() {
        order.select_nth_unstable_by(count - 1, greater);
    }
    order.truncate(count);
    order.sort_unstable_by(greater);
    order
}

/// `draw` is uniform in [0, 1).
fn choose(scores: &[f32], temperature: f64, top_p: f64, draw: f64) -> usize {
    let best = greatest(scores);
    let most = scores.get(best).copied().unwrap_or_default();
    if temperature < GREEDY || !most.is_finite() {
        return best;
    }
    let weight = |at: usize| ((f64::from(scores[at]) - f64::from(most)) / temperature).exp();
    let total: f64 = (0..scores.len()).map(weight).sum();
    if top_p >= 1.0 {
        return pick(0..scores.len(), weight, draw * total).unwrap_or(best);
    }
    // The least set of tokens whose probability reaches top_p.
    let nucleus = |order: Vec<usize>| {
        let mut kept = 0.0;
        let wanted = top_p * total;
        let enough = order.iter().position(|at| {
            kept += weight(*at);
            kept >= wanted
        });
        enough.map(|last| (order[..=last].to_vec(), kept))
    };
    let (tokens, kept) = nucleus(likeliest(scores, NUCLEUS))
        .or_else(|| nucleus(likeliest(scores, scores.len())))
        .unwrap_or_else(|| (vec![best], weight(best)));
    pick(tokens, weight, draw * kept).unwrap_or(best)
}

/// The first token at which the sum of weights passes `target`.
fn pick(
    tokens: impl IntoIterator<Item = usize>,
    weight: impl Fn(usize) -> f64,
    target: f64,
) -> Option<usize> {
    let mut sum = 0.0;
    tokens.into_iter().find(|at| {
        sum += weight(*at);
        sum > target
    })
}

/// A number in [0, 1) that depends on nothing but `seed` and `position` (the finalizer of SplitMix64, twice).
fn uniform(seed: u64, position: u64) -> f64 {
    let mix = |mut z: u64| {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (mix(seed ^ mix(position)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A seed nobody can guess: the standard library's own randomness for hash tables.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::time::Instant::now().elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(sampling: Sampling, logprobs: Option<usize>) -> Rule {
        Rule { seed: sampling.seed.unwrap_or_default().cast_unsigned(), sampling, logprobs }
    }

    fn greedy() -> Sampling {
        Sampling { temperature: 0.0, ..Sampling::default() }
    }

    const RAW: [f32; 4] = [1.0, 3.0, 2.0, -1.0];

    #[test]
    fn a_choice_survives_its_way_through_the_channel() {
        let chosen = Chosen { position: 7, token: 9, logprob: -0.25, top: vec![(9, -0.25), (1, -3.5)] };
        let Response::Raw { tokens, .. } = chosen.clone().into_response() else { panic!("not raw") };
        assert_eq!(Chosen::from_words(&tokens), Some(chosen));
        assert_eq!(Chosen::from_words(&[1, 2]), None);
    }

    #[test]
    fn bias_and_penalties_move_the_choice() {
        let context = [0, 0, 0];
        assert_eq!(rule(greedy(), None).choose(&RAW, &context, &mut State::default()).token, 1);
        let biased = Sampling { logit_bias: vec![(3, 100.0), (99, 100.0)], ..greedy() };
        assert_eq!(rule(biased, None).choose(&RAW, &context, &mut State::default()).token, 3);

        let penalized = rule(Sampling { presence_penalty: 1.5, ..greedy() }, None);
        let mut state = State::default();
        assert_eq!(penalized.choose(&RAW, &[1, 1, 1], &mut state).token, 1, "the prompt does not count");
        assert_eq!(penalized.choose(&RAW, &[1, 1, 1, 1], &mut state).token, 2, "what was generated does");
        let frequent = rule(Sampling { frequency_penalty: 0.6, ..greedy() }, None);
        let mut state = State::default();
        assert_eq!(frequent.choose(&RAW, &[0], &mut state).token, 1);
        assert_eq!(frequent.choose(&RAW, &[0, 1], &mut state).token, 1, "once is not enough");
        assert_eq!(frequent.choose(&RAW, &[0, 1], &mut state).token, 1, "a second call counts nothing twice");
        assert_eq!(frequent.choose(&RAW, &[0, 1, 1], &mut state).token, 2);
    }

    #[test]
    fn logprobs_are_natural_logarithms_of_the_models_own_probabilities() {
        let sampling = Sampling { temperature: 2.0, logit_bias: vec![(3, 100.0)], ..Sampling::default() };
        let chosen = rule(sampling, Some(2)).choose(&RAW, &[0], &mut State::default());
        let sum: f32 = RAW.iter().map(|logit| logit.exp()).sum();
        assert_eq!(chosen.token, 3);
        assert!((chosen.logprob - (RAW[3].exp() / sum).ln()).abs() < 1e-5, "{chosen:?}");
        assert_eq!(chosen.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 2]);
        assert!((chosen.top[0].1 - (RAW[1].exp() / sum).ln()).abs() < 1e-5, "{chosen:?}");
    }

    #[test]
    fn a_constraint_changes_the_choice_and_not_the_probabilities() {
        let rule = rule(greedy(), Some(1));
        let mut state = State::default();
        rule.choose(&RAW, &[0], &mut state);
        let masked = [f32::NEG_INFINITY, f32::NEG_INFINITY, 2.0, -1.0];
        let chosen = rule.choose(&masked, &[0], &mut state);
        let sum: f32 = RAW.iter().map(|logit| logit.exp()).sum();
        assert_eq!((chosen.token, chosen.top[0].0), (2, 1));
        assert!((chosen.logprob - (RAW[2].exp() / sum).ln()).abs() < 1e-5, "{chosen:?}");
    }

    #[test]
    fn draws_follow_the_distribution_and_the_nucleus_cuts_it() {
        let draws = 20_000;
        let mut seen = [0_u32; 4];
        let mut nucleus = [0_u32; 4];
        for position in 0..draws {
            let draw = uniform(42, position);
            seen[choose(&RAW, 1.0, 1.0, draw)] += 1;
            nucleus[choose(&RAW, 1.0, 0.7, draw)] += 1;
        }
        let sum: f64 = RAW.iter().map(|logit| f64::from(logit.exp())).sum();
        for (at, count) in seen.iter().enumerate() {
            let expected = f64::from(RAW[at].exp()) / sum;
            assert!((f64::from(*count) / draws as f64 - expected).abs() < 0.015, "{seen:?}");
        }
        // 0.66 for the likeliest alone: 0.7 needs the second as well, and no more.
        assert!(nucleus[1] > 0 && nucleus[2] > 0 && nucleus[0] == 0 && nucleus[3] == 0, "{nucleus:?}");
        assert_eq!(choose(&RAW, 1.0, 1e-9, 0.99), 1, "the smallest nucleus is the likeliest token");
        assert_eq!(choose(&vec![1.0; 1000], 1.0, 0.9, 0.999_999), 899, "wider than what is looked at first");
    }

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        assert_eq!(uniform(1, 5).to_bits(), uniform(1, 5).to_bits());
        assert_ne!(uniform(1, 5).to_bits(), uniform(2, 5).to_bits());
        assert_ne!(uniform(1, 5).to_bits(), uniform(1, 6).to_bits());
        assert!((0..1000).all(|position| (0.0..1.0).contains(&uniform(3, position))));
    }

    #[test]
    fn what_is_no_number_is_never_chosen() {
        let raw = [f32::NAN, 1.0, f32::NAN, 0.0];
        for temperature in [0.0, 1.0] {
            let sampling = Sampling { temperature, ..Sampling::default() };
            let chosen = rule(sampling, Some(4)).choose(&raw, &[0], &mut State::default());
            assert!(chosen.token == 1 || chosen.token == 3, "{chosen:?}");
        }
        let nothing =
            rule(Sampling::default(), Some(1)).choose(&[f32::NEG_INFINITY; 3], &[0], &mut State::default());
        assert!(nothing.token < 3);
    }
}
