/* The CUDA twins of `reference`: one thread a pixel for resampling, one a pixel and channel for combining.

   Plain C with the few words of CUDA that a header can stand in for, so that any C++ compiler can build it
   and the tests can hold it against the definition on a machine without a GPU. To be compiled without
   contraction of products and sums: the masks of rejection must be those of the other twins.

   A sample of a pixel is one integer: its value as a number that sorts as it does, then the number of its sub.
   Sigma and weight are looked up by that number; rejection only moves these integers. */

typedef unsigned long long sample_key;

/* Constants of `reference`; a test compares them. */
#define FEW_SAMPLES 8
#define SIGNAL_SHARE 0.3
#define DROP_SHARE 3.0
#define STEEP_SHARE 0.3
#define BLUR_SHARE 2.0
#define MISPLACED_SHARE 1.0
#define RANGE_NOISE 2.0
#define RANGE_REACH 3
#define LEAST_SIGMA 0.8
#define LEAST_TAPER 1e-3
#define OVERSHOOT 0.25f
#define UNDERSHOOT 0.125f
#define HALF_WEIGHT 0.4999f

#define HALF_PI 1.57079632679489661923
#define NAN_FLOAT __uint_as_float(0x7fc00000u)

__device__ bool is_finite(double value) { return fabs(value) < (double)__uint_as_float(0x7f800000u); }

/* ------------------------------------------------------------------------- samples */

struct Subs {
    const float *samples;
    const long long *start, *boxes; /* (N,), (N, 4): y0 y1 x0 x1 */
    int count, channels;
    const float *gain, *offset, *weight, *sigma; /* (N, C) */
    const double *edges;                         /* (N, 4, 3) */
    double feather;
    const double *radial;                                 /* (N, 5) */
    long long row0, column0; /* of the first pixel, where edges, radial and sky are counted */
    const float *dropped, *dropped_share, *dropped_sigma; /* null without drizzle */
};

/* Place of a sub's sample in the buffers; -1 outside of its crop. */
__device__ long long place_of(const Subs *s, int k, int row, int x, int c) {
    const long long *box = s->boxes + 4 * (long long)k;
    if (row < box[0] || row >= box[1] || x < box[2] || x >= box[3]) return -1;
    return s->start[k] + ((row - box[0]) * (box[3] - box[2]) + x - box[2]) * s->channels + c;
}

struct Samples {
    sample_key *keys; /* of this pixel, `stride` apart */
    long long stride;
    const float *sigma; /* (N, C) */
    int channels, c;
    const double *psfs;  /* (N, 2): square of the FWHM, distance from its place */
    double reach, usual; /* range of the light around the pixel, mean square of the FWHM of its samples */
    const Subs *subs;
    int row, x;
    int low;                    /* rejected samples below the centre that could have been used */
};

__device__ sample_key key_of(float value, int sub) {
    unsigned int bits = __float_as_uint(value);
    bits ^= (bits >> 31) ? 0xffffffffu : 0x80000000u;
    return ((sample_key)bits << 32) | (unsigned int)sub;
}

__device__ double value_at(const Samples *p, int i) {
    unsigned int bits = (unsigned int)(p->keys[i * p->stride] >> 32);
    bits ^= (bits >> 31) ? 0x80000000u : 0xffffffffu;
    return (double)__uint_as_float(bits);
}

__device__ int sub_at(const Samples *p, int i) { return (int)(unsigned int)p->keys[i * p->stride]; }

__device__ double sigma_at(const Samples *p, int i) {
    return (double)p->sigma[(long long)sub_at(p, i) * p->channels + p->c];
}

/* Whether a sample could be used: without a drop beside it, it only judges. */
__device__ bool counts(const Samples *p, int i) {
    const Subs *s = p->subs;
    return !s->dropped || s->dropped_share[place_of(s, sub_at(p, i), p->row, p->x, p->c)] > 0.0f;
}

/* Variance of a sample: of its noise, and what its PSF adds where light is steep. */
__device__ double variance_at(const Samples *p, int i, double sigma) {
    double variance = sigma * sigma;
    if (p->reach > 0.0) {
        const double *psf = p->psfs + 2 * (long long)sub_at(p, i);
        double least = psf[0] < p->usual ? psf[0] : p->usual, blur = BLUR_SHARE * fabs(psf[0] - p->usual) / least;
        double away = MISPLACED_SHARE * psf[1];
        variance += p->reach * p->reach * (STEEP_SHARE * STEEP_SHARE + blur * blur + away * away / p->usual);
    }
    return variance;
}

/* Sift the first of keys[root..n) down its heap. */
__device__ void sift(const Samples *p, int root, int n) {
    sample_key moved = p->keys[root * p->stride];
    for (int child = 2 * root + 1; child < n; child = 2 * root + 1) {
        if (child + 1 < n && p->keys[(child + 1) * p->stride] > p->keys[child * p->stride]) child++;
        if (p->keys[child * p->stride] <= moved) break;
        p->keys[root * p->stride] = p->keys[child * p->stride];
        root = child;
    }
    p->keys[root * p->stride] = moved;
}

__device__ void sort_samples(const Samples *p, int n) {
    if (n <= 24) { /* by insertion */
        for (int i = 1; i < n; i++) {
            sample_key moved = p->keys[i * p->stride];
            int at = i;
            for (; at > 0 && p->keys[(at - 1) * p->stride] > moved; at--)
                p->keys[at * p->stride] = p->keys[(at - 1) * p->stride];
            p->keys[at * p->stride] = moved;
        }
        return;
    }
    for (int root = n / 2 - 1; root >= 0; root--) sift(p, root, n);
    for (int last = n - 1; last > 0; last--) {
        sample_key largest = p->keys[0];
        p->keys[0] = p->keys[last * p->stride];
        p->keys[last * p->stride] = largest;
        sift(p, 0, last);
    }
}

/* ------------------------------------------------------------------------- rejection */

__device__ double median_of(const Samples *p, int n) { return 0.5 * (value_at(p, (n - 1) / 2) + value_at(p, n / 2)); }

/* The k-th smallest distance to the median of sorted samples, by bisection: distances rise from the middle outward. */
__device__ double deviation_of_rank(const Samples *p, int n, double centre, int k) {
    int middle = (n + 1) / 2;
    int low = k + 1 - (n - middle) > 0 ? k + 1 - (n - middle) : 0;
    int high = k + 1 < middle ? k + 1 : middle;
    while (low < high) {
        int taken = (low + high) / 2;
        if (centre - value_at(p, middle - 1 - taken) < value_at(p, middle + k - taken) - centre)
            low = taken + 1;
        else
            high = taken;
    }
    double left = low > 0 ? centre - value_at(p, middle - low) : -1.0;
    double right = low < k + 1 ? value_at(p, middle + k - low) - centre : -1.0;
    return left > right ? left : right;
}

__device__ double model_variance(double centre, double sky, double share) {
    double signal = share * (centre > sky ? centre - sky : 0.0);
    return signal * signal;
}

/* Remove the samples too far from the centre; the nearest stays in any case. */
__device__ int drop_far(Samples *p, int n, double centre, double spread, double share, double model, double low,
                        double high) {
    int kept = 0, below = 0;
    for (int i = 0; i < n; i++) {
        double away = value_at(p, i) - centre, limit = away > 0.0 ? high : low;
        bool is_low = away < 0.0;
        away = fabs(away);
        if (away <= limit * spread || away <= limit * (share * sqrt(variance_at(p, i, sigma_at(p, i)) + model)))
            p->keys[kept++ * p->stride] = p->keys[i * p->stride];
        else
            below += is_low && counts(p, i);
    }
    p->low += below;
    if (kept > 0) return kept;
    int best = 0;
    for (int i = 1; i < n; i++)
        if (fabs(value_at(p, i) - centre) < fabs(value_at(p, best) - centre)) best = i;
    p->low -= value_at(p, best) < centre && counts(p, best);
    p->keys[0] = p->keys[best * p->stride];
    return 1;
}

__device__ int reject_few(Samples *p, int n, double sky, double low, double high) {
    for (int pass = 0; pass < 2 && n >= 2; pass++) {
        int before = n;
        if (n == 2) { /* trails, cosmic rays and hot pixels only add light: the lower one is believed */
            double a = variance_at(p, 0, sigma_at(p, 0)), b = variance_at(p, 1, sigma_at(p, 1)), first = value_at(p, 0);
            if (value_at(p, 1) - first > high * sqrt(a + b + model_variance(first, sky, SIGNAL_SHARE))) n = 1;
        } else {
            double centre = median_of(p, n);
            n = drop_far(p, n, centre, 0.0, 1.0, model_variance(centre, sky, SIGNAL_SHARE), low, high);
        }
        if (n == before) break;
    }
    return n;
}

__device__ double clipped_deviation(const Samples *p, int n, double low, double high) {
    double total = 0.0, square = 0.0;
    for (int i = 0; i < n; i++) {
        double value = value_at(p, i);
        total += value < low ? low : value > high ? high : value;
    }
    double mean = total / n;
    for (int i = 0; i < n; i++) {
        double value = value_at(p, i);
        double away = (value < low ? low : value > high ? high : value) - mean;
        square += away * away;
    }
    return sqrt(square / (n > 1 ? n - 1 : 1));
}

__device__ double winsorised_sigma(const Samples *p, int n, double centre, double cut_low, double cut_high) {
    int below = (int)floor(cut_low * n), above = n - 1 - (int)floor(cut_high * n);
    double sigma = clipped_deviation(p, n, value_at(p, below), value_at(p, above));
    for (int pass = 0; pass < 50; pass++) {
        double changed = 1.134 * clipped_deviation(p, n, centre - 1.5 * sigma, centre + 1.5 * sigma);
        bool done = fabs(changed - sigma) <= 0.005 * sigma;
        sigma = changed;
        if (done) break;
    }
    return sigma;
}

struct Rejection {
    int how; /* 0 none, 1 kappa-sigma, 2 winsorised */
    double low, high, cut_low, cut_high;
};

__device__ int reject_samples(Samples *p, int n, double sky, const Rejection *r) {
    if (n < FEW_SAMPLES) return reject_few(p, n, sky, r->low, r->high);
    for (int pass = 0; r->how == 2 || pass < 10; pass++) {
        double centre = median_of(p, n), spread;
        if (r->how == 1) {
            double lower = deviation_of_rank(p, n, centre, (n - 1) / 2);
            spread = 1.4826 * (0.5 * (lower + deviation_of_rank(p, n, centre, n / 2)));
        } else
            spread = winsorised_sigma(p, n, centre, r->cut_low, r->cut_high);
        int before = n;
        n = drop_far(p, n, centre, spread, LEAST_SIGMA, model_variance(centre, sky, SIGNAL_SHARE), r->low, r->high);
        if (n == before) break;
    }
    return n;
}

/* ------------------------------------------------------------------------- combining */

/* Share of its weight that a sub has at a pixel: falls to its edges and, if wanted, with the radius. */
__device__ double edge_share(const Subs *s, int k, long long row, long long x) {
    double share = 1.0;
    row += s->row0;
    x += s->column0;
    if (s->feather > 0.0) {
        for (int e = 0; e < 4; e++) {
            const double *edge = s->edges + 12 * (long long)k + 3 * e;
            double distance = (edge[0] * x + edge[1] * row + edge[2]) / s->feather;
            if (distance < share) share = distance;
        }
        if (share < LEAST_TAPER) share = LEAST_TAPER;
    }
    const double *radial = s->radial + 5 * (long long)k;
    if (radial[4] > 0.0) {
        double width = radial[3] - radial[2];
        double t = (hypot((double)x - radial[0], (double)row - radial[1]) - radial[2]) / (width > 1e-6 ? width : 1e-6);
        if (t > 0.0) {
            double fall = pow(cos(HALF_PI * (t < 1.0 ? t : 1.0)), radial[4]);
            share *= fall > LEAST_TAPER ? fall : LEAST_TAPER;
        }
    }
    return share;
}

/* The drops of the surviving samples in their place; without those too far from the survivors' median, unless all are. */
__device__ int take_dropped(const Subs *s, Samples *p, int n, int row, int x, double sky, const Rejection *r,
                            bool sort) {
    if (n == 0) return 0;
    double centre = median_of(p, n), model = model_variance(centre, sky, DROP_SHARE);
    int near = 0, there = 0;
    for (int pass = 0; pass < 2; pass++) {
        int kept = 0;
        for (int i = 0; i < n; i++) {
            int k = sub_at(p, i);
            long long at = place_of(s, k, row, x, p->c), one = (long long)k * s->channels + p->c;
            if (!(s->dropped_share[at] > 0.0f)) continue;
            float value = s->dropped[at] * s->gain[one] + s->offset[one];
            double away = (double)value - centre, variance = variance_at(p, i, (double)s->dropped_sigma[one]) + model;
            bool is_near = r->how == 0 || fabs(away) <= (away > 0.0 ? r->high : r->low) * sqrt(variance);
            if (pass == 0) {
                there++;
                near += is_near;
            } else if (is_near || near == 0)
                p->keys[kept++ * p->stride] = key_of(value, k);
            else
                p->low += away < 0.0;
        }
        if (pass == 1) there = kept;
    }
    if (sort) sort_samples(p, there);
    return there;
}

__device__ void weigh_survivors(const Subs *s, const Samples *p, int n, int row, int x, bool median, float *value,
                                float *certainty) {
    *value = NAN_FLOAT;
    *certainty = 0.0f;
    if (n == 0) return;
    double total = 0.0, weights = 0.0, variance = 0.0;
    for (int i = 0; i < n; i++) {
        int k = sub_at(p, i);
        double w = edge_share(s, k, row, x) * (double)s->weight[(long long)k * s->channels + p->c];
        if (s->dropped) w *= (double)s->dropped_share[place_of(s, k, row, x, p->c)];
        double sigma = sigma_at(p, i);
        total += w * value_at(p, i);
        weights += w;
        variance += w * w * sigma * sigma;
    }
    double known = variance > 0.0 ? weights * weights / variance : weights;
    *value = (float)(median ? median_of(p, n) : total / weights);
    *certainty = (float)(median && n > 2 ? known / HALF_PI : known);
}

/* Range of the light less what is noise, and the mean square of the FWHM, for a pixel that is looked at again. */
__device__ void measure_steep(Samples *p, int n, double span) {
    double squares = 0.0, variance = 0.0;
    for (int i = 0; i < n; i++) {
        double sigma = sigma_at(p, i);
        squares += p->psfs[2 * (long long)sub_at(p, i)];
        variance += sigma * sigma;
    }
    p->usual = squares / n;
    p->reach = span - RANGE_NOISE * (sqrt(variance) / n);
    if (!(p->reach > 0.0)) p->reach = 0.0;
}

/* Weighted mean of all samples of a pixel, or of all drops. */
__device__ double plain_mean(const Subs *s, const Samples *p, int n) {
    double total = 0.0, weights = 0.0;
    for (int i = 0; i < n; i++) {
        if (!counts(p, i)) continue;
        int k = sub_at(p, i);
        long long one = (long long)k * s->channels + p->c;
        double w = edge_share(s, k, p->row, p->x) * (double)s->weight[one], value = value_at(p, i);
        if (s->dropped) {
            long long at = place_of(s, k, p->row, p->x, p->c);
            w *= (double)s->dropped_share[at];
            value = (double)(s->dropped[at] * s->gain[one] + s->offset[one]);
        }
        total += w * value;
        weights += w;
    }
    return total / weights;
}

/* Level of the sky at a place: linear between the middles of cells, constant beyond them. */
__device__ double sky_at(const float *level, long long rows, long long columns, long long cell, int channels, int c,
                         long long row, long long column) {
    double y = (row + 0.5) / cell - 0.5, x = (column + 0.5) / cell - 0.5;
    y = y < 0.0 ? 0.0 : y > rows - 1.0 ? rows - 1.0 : y;
    x = x < 0.0 ? 0.0 : x > columns - 1.0 ? columns - 1.0 : x;
    long long last_row = rows > 2 ? rows - 2 : 0, last_column = columns > 2 ? columns - 2 : 0;
    long long j = (long long)y < last_row ? (long long)y : last_row;
    long long i = (long long)x < last_column ? (long long)x : last_column;
    long long below = j + 1 < rows ? j + 1 : j, right = i + 1 < columns ? i + 1 : i;
    const float *at = level + c;
    float one = at[(j * columns + i) * channels], other = at[(below * columns + i) * channels];
    double upper = one + (x - i) * (at[(j * columns + right) * channels] - one);
    double lower = other + (x - i) * (at[(below * columns + right) * channels] - other);
    return upper + (y - j) * (lower - upper);
}

/* All pixels of a band; or again those whose span is above 0. The first time the light of each is estimated too. */
extern "C" __global__ void combine_band(
    const float *samples, const long long *start, const long long *boxes, long long count, long long row0,
    long long rows, long long width, long long channels, const float *gain, const float *offset, const float *weight,
    const float *sigma, const double *edges, double feather, const double *radial, long long origin_row,
    long long origin_column, const float *sky, long long sky_rows, long long sky_columns, long long cell, long long how,
    double low, double high, double cut_low, double cut_high, long long median, long long drizzled,
    const float *dropped, const float *dropped_share, const float *dropped_sigma, const double *psfs, long long again,
    const float *spans, float *estimate, unsigned short *valid, sample_key *keys, float *out_value, float *out_weight,
    unsigned short *out_coverage, unsigned short *out_rejected, unsigned short *out_low, float *out_taken) {
    long long threads = rows * width * channels, t = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= threads || (again && !(spans[t] > 0.0f))) return;
    int c = (int)(t % channels), x = (int)(t / channels % width), row = (int)(row0 + t / channels / width);
    Subs s = {samples, start, boxes, (int)count, (int)channels, gain, offset, weight, sigma, edges, feather, radial,
              origin_row, origin_column, drizzled ? dropped : 0, dropped_share, dropped_sigma};
    double level = sky_at(sky, sky_rows, sky_columns, cell, (int)channels, c, origin_row + row, origin_column + x);
    Samples p = {keys + t, threads, sigma, (int)channels, c, psfs, 0.0, 1.0, &s, row, x, 0};
    Rejection r = {(int)how, low, high, cut_low, cut_high};
    int n = 0, found = 0;
    for (int k = 0; k < s.count; k++) {
        long long at = place_of(&s, k, row, x, c), one = (long long)k * channels + c;
        if (at < 0) continue;
        float value = samples[at] * gain[one] + offset[one];
        if (!is_finite(value) || !(weight[one] > 0.0f)) continue;
        p.keys[n++ * p.stride] = key_of(value, k);
        found += drizzled ? dropped_share[at] > 0.0f : 1;
    }
    if (how || median) sort_samples(&p, n);
    double plain = 0.0;
    if (again) {
        measure_steep(&p, n, (double)spans[t]);
        if (p.reach > 0.0) plain = plain_mean(&s, &p, n);
    } else {
        double light = n > 1 ? value_at(&p, (n - 1) / 4) : 0.0;
        if (n == 3 || n == 4) { /* below the sky: see reference.scatter.first_estimate */
            double next = value_at(&p, 1);
            if (next > level) next = level;
            if (next > light) light = next;
        }
        estimate[t] = n > 1 ? (float)light : NAN_FLOAT;
        valid[t] = (unsigned short)n;
    }
    if (how) n = reject_samples(&p, n, level, &r);
    if (drizzled) {
        n = take_dropped(&s, &p, n, row, x, level, &r, median != 0);
        p.sigma = dropped_sigma;
    }
    weigh_survivors(&s, &p, n, row, x, median != 0, out_value + t, out_weight + t);
    out_coverage[t] = (unsigned short)n;
    out_rejected[t] = (unsigned short)(found - n);
    out_low[t] = (unsigned short)p.low;
    out_taken[t] = p.reach > 0.0 && n < found && !median ? (float)(plain - (double)out_value[t]) : 0.0f;
}

/* Means of the first estimate over 3 x 3 pixels. */
extern "C" __global__ void smooth_estimate(const float *estimate, long long rows, long long width, long long channels,
                                           float *mean) {
    long long t = (long long)blockIdx.x * blockDim.x + threadIdx.x, line = width * channels;
    if (t >= rows * line) return;
    long long row = t / line, x = t % line / channels;
    float total = 0.0f, there = 0.0f;
    for (int side = 0; side < 3; side++) { /* its own column, the one to the left, the one to the right */
        long long other = x + (side == 0 ? 0 : side == 1 ? -1 : 1);
        if (other < 0 || other >= width) continue;
        float sum = 0.0f, known = 0.0f;
        for (long long j = row > 0 ? row - 1 : 0; j <= row + 1 && j < rows; j++) {
            float value = estimate[j * line + other * channels + t % channels];
            if (value == value) {
                sum += value;
                known += 1.0f;
            }
        }
        total += sum;
        there += known;
    }
    mean[t] = estimate[t] == estimate[t] ? total / there : NAN_FLOAT;
}

/* Range of the light around the pixels that lost samples, 0 where noise alone explains it or none was lost. */
extern "C" __global__ void steep_spans(const float *mean, const unsigned short *valid, const unsigned short *rejected,
                                       long long rows, long long width, long long channels, const double *least_sigma,
                                       float *spans) {
    long long t = (long long)blockIdx.x * blockDim.x + threadIdx.x, line = width * channels, reach = RANGE_REACH - 1;
    if (t >= rows * line) return;
    spans[t] = 0.0f;
    if (rejected[t] == 0) return;
    long long row = t / line, x = t % line / channels;
    float most = -__uint_as_float(0x7f800000u), least = -most;
    for (long long j = row > reach ? row - reach : 0; j <= row + reach && j < rows; j++)
        for (long long i = x > reach ? x - reach : 0; i <= x + reach && i < width; i++) {
            float value = mean[j * line + i * channels + t % channels];
            if (value > most) most = value;
            if (value < least) least = value;
        }
    double noise = RANGE_NOISE * least_sigma[t % channels] / sqrt(valid[t] > 1 ? (double)valid[t] : 1.0);
    if (most - least > noise) spans[t] = most - least;
}

/* ------------------------------------------------------------------------- resampling */

__device__ double at_nodes(const double *nodes, long long columns, long long j, long long i, double v, double u, int k) {
    const double *here = nodes + 2 * (j * columns + i) + k, *below = here + 2 * columns;
    return (1.0 - v) * ((1.0 - u) * here[0] + u * here[2]) + v * ((1.0 - u) * below[0] + u * below[2]);
}

/* Weight of a tap at a fraction of a pixel, between two rows of the table. */
__device__ float tap_weight(const float *table, long long phases, int taps, double fraction, int tap) {
    double position = fraction * phases;
    long long row = (long long)position < phases - 1 ? (long long)position : phases - 1;
    float t = (float)(position - row), first = table[row * taps + tap];
    return first + t * (table[(row + 1) * taps + tap] - first);
}

__device__ float clamped(float value, float low, float high) { return value < low ? low : value > high ? high : value; }

__device__ float larger(float a, float b) { return a > b ? a : b; }
__device__ float smaller(float a, float b) { return a < b ? a : b; }

/* Height to which `2 * inner` taps a side rise at both ends of their middle rows or columns. */
__device__ float ends_of_trough(const float *first, long long row, long long column, int inner) {
    const float *across = first + (inner - 1) * row, *down = first + (inner - 1) * column;
    long long last = 2 * inner - 1;
    float left = larger(across[0], across[row]), right = larger(across[last * column], across[last * column + row]);
    float top = larger(down[0], down[column]), bottom = larger(down[last * row], down[last * row + column]);
    return larger(smaller(left, right), smaller(top, bottom));
}

/* Sum over the taps that are inside and finite; see `resampling.resample` for the rules. The source is a part that
   begins at (left, top). */
__device__ float sum_taps(const float *source, long long height, long long width, long long top, long long left,
                          int channels, int c, double x, double y, const float *table, long long phases, int taps,
                          int inner) {
    long long x0 = (long long)floor(x) - left - taps / 2 + 1, y0 = (long long)floor(y) - top - taps / 2 + 1;
    double fx = x - floor(x), fy = y - floor(y);
    int skip = taps / 2 - inner, valid = 0;
    float total = 0.0f, weight = 0.0f, least = __uint_as_float(0x7f800000u), most = -least;
    float inner_least = least, inner_most = most;
    for (int j = 0; j < taps; j++) {
        if (y0 + j < 0 || y0 + j >= height) continue;
        float wy = tap_weight(table, phases, taps, fy, j);
        for (int i = 0; i < taps; i++) {
            if (x0 + i < 0 || x0 + i >= width) continue;
            float value = source[((y0 + j) * width + x0 + i) * channels + c];
            if (!is_finite(value)) continue;
            float w = wy * tap_weight(table, phases, taps, fx, i);
            valid++;
            weight += w;
            total += w * value;
            if (value < least) least = value;
            if (value > most) most = value;
            if (j >= skip && j < taps - skip && i >= skip && i < taps - skip) {
                if (value < inner_least) inner_least = value;
                if (value > inner_most) inner_most = value;
            }
        }
    }
    if (valid == taps * taps) {
        const float *first = source + ((y0 + skip) * width + x0 + skip) * channels + c;
        float ends = ends_of_trough(first, width * channels, channels, inner);
        float lowest = inner_least - UNDERSHOOT * (ends - inner_least);
        return clamped(total, lowest, inner_most + OVERSHOOT * (inner_most - inner_least));
    }
    return weight < HALF_WEIGHT ? NAN_FLOAT : clamped(total / weight, least, most);
}

/* One value of the source at (x, y) on the scale of the run; k is a row of the calibration's coefficients. */
__device__ float calibrated(float value, double x, double y, long long height, long long width, const double *k) {
    double half = 0.5 * sqrt((double)(width * width + height * height));
    double u = (x - 0.5 * (width - 1)) / half, v = (y - 0.5 * (height - 1)) / half, uu = u * u, vv = v * v;
    double light = 1.0 + k[5] * u + k[6] * v + k[7] * uu + k[8] * (u * v) + k[9] * vv + k[10] * ((uu + vv) * (uu + vv));
    return (float)(((double)value - k[1]) * (k[0] / light) + (k[2] + k[3] * u + k[4] * v));
}

/* The source holds the rows and columns from (left, top) of an image of whole_height and whole_width. */
extern "C" __global__ void resample_rows(const float *source, long long height, long long width, long long top,
                                         long long left, long long whole_height, long long whole_width,
                                         long long channels, const double *nodes, long long columns, long long step,
                                         long long first_row, long long first_column, const float *table,
                                         long long phases, long long taps, long long nearest, long long inner,
                                         long long rows, long long out_width, long long calibrating,
                                         const double *calibration, float *out) {
    long long t = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= rows * out_width) return;
    long long r = first_row + t / out_width, q = first_column + t % out_width, j = r / step, i = q / step;
    double v = (double)(r - j * step) / step, u = (double)(q - i * step) / step;
    double x = at_nodes(nodes, columns, j, i, v, u, 0), y = at_nodes(nodes, columns, j, i, v, u, 1);
    bool inside = x >= -0.5 && x < whole_width - 0.5 && y >= -0.5 && y < whole_height - 0.5; /* NaN is not */
    for (int c = 0; c < channels; c++) {
        float value = NAN_FLOAT;
        if (inside) {
            long long row = (long long)floor(y + 0.5) - top, column = (long long)floor(x + 0.5) - left;
            value = source[(row * width + column) * channels + c];
            if (!is_finite(value))
                value = NAN_FLOAT;
            else if (!nearest)
                value = sum_taps(source, height, width, top, left, (int)channels, c, x, y, table, phases, (int)taps,
                                 (int)inner);
            if (calibrating) value = calibrated(value, x, y, whole_height, whole_width, calibration + 11 * c);
        }
        out[t * channels + c] = value;
    }
}
