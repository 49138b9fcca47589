import { noLieStands } from './stand.ts';

noLieStands(1);
